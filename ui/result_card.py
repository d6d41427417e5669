"""One result of a search: its picture, how sure it is, and what can be done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import streamlit as st

from search.asking import Asked as Understood
from search.asking import understand
from search.explain import Explanation, LookedAt, explain, look_at
from ui import elements, preview, session
from ui.answers import likelihood
from ui.explanation_picture import draw_explanation
from ui.explanation_text import looked_sentence, said_sentences, term_sentences
from ui.question_form import Asked, judge, look_for_like
from vidsift.errors import EncoderError, MediaError
from vidsift.library import Library
from vidsift.times import clock
from vidsift.types import Moment, SearchResult, TextQuery

if TYPE_CHECKING:
    from search.videos import RankedVideo

__all__ = ["card", "video_card"]


def card(library: Library, asked: Asked, result: SearchResult, rank: int) -> None:
    """A moment that was found; a click on its picture plays it."""
    moment = result.moment
    place = f"{moment.video_id}@{moment.peak_seconds:.2f}"
    span = f"{clock(moment.span.start)} - {clock(moment.span.end)}"
    with st.container(border=True):
        clicked = elements.tile(result.thumbnail, f":material/play_arrow: {span}", f"m{rank}")
        elements.caption(result.video.name, _note(result), tooltip=result.video)
        if result.cue is not None:
            elements.line(f'"{result.cue.text}"', "note", tooltip=result.cue.text)
        if result.parts:
            steps = ", then ".join(clock(part.span.start) for part in result.parts)
            elements.line(f"at {steps}")
        with st.container(horizontal=True, horizontal_alignment="distribute", gap="small"):
            _judgement(asked, place, rank)
            like = _icon(":material/image_search:", f"like-{rank}", "Find moments like this one")
            why = _icon(":material/help_center:", f"why-{rank}", "Why this result")
            if st.button("Open", key=f"open-{rank}"):
                elements.open_video(moment.video_id, moment.span.start)
    if like:
        look_for_like(place)
        st.rerun()
    if clicked:
        _play_moment(library, result)
    elif why:
        _explain(library, asked, result)


def video_card(library: Library, video: RankedVideo, rank: int) -> None:
    """A video as a whole, at the clip that speaks for it most."""
    record = library.video(video.video_id)
    with st.container(border=True):
        best = video.clips[0].record
        picture = library.thumbnail(record, best.ordinal)
        if elements.tile(picture, f"score {video.score:.3f}", f"v{rank}"):
            elements.open_video(video.video_id, best.clip.span.start)
        elements.caption(video.path.name, elements.time_words(record.duration_seconds), video.path)


def _note(result: SearchResult) -> str:
    parts = [f"score {result.moment.score:.3f}"]
    if result.false_alarm_rate is not None:
        parts.append(f"by chance {likelihood(result.false_alarm_rate)}")
    if "words" in result.found_by:
        parts.append("words")
    if result.duplicates:
        parts.append(f"+{len(result.duplicates)} alike")
    return " · ".join(parts)


def _judgement(asked: Asked, place: str, rank: int) -> None:
    for good, chosen, icon, tip in (
        (True, asked.yes, ":material/thumb_up:", "More like this one"),
        (False, asked.no, ":material/thumb_down:", "Less like that one"),
    ):
        key = f"{'yes' if good else 'no'}-{rank}"
        if _icon(icon, key, tip, "primary" if place in chosen else "tertiary"):
            judge(place, good)
            st.rerun()


def _icon(icon: str, key: str, tip: str, kind: Literal["primary", "tertiary"] = "tertiary") -> bool:
    return st.button("", key=key, icon=icon, help=tip, type=kind)


@st.dialog("Moment", width="medium")
def _play_moment(library: Library, result: SearchResult) -> None:
    moment = result.moment
    elements.line(result.video.name, "name", tooltip=result.video)
    with elements.errors_shown():
        with st.spinner("Cutting the moment ..."):
            clip = preview.moment_clip(library, library.video(moment.video_id), moment)
        elements.play(clip, autoplay=True)
    elements.line(
        f"{clock(moment.span.start)} - {clock(moment.span.end)}, best at"
        f" {clock(moment.peak_seconds)}, score {moment.score:.3f}"
    )
    for number, part in enumerate(result.parts, 1):
        elements.line(f"part {number}: {_span(part)}")
    if st.button("Open the video here", key="moment-open", icon=":material/movie:"):
        elements.open_video(moment.video_id, moment.span.start)


def _span(moment: Moment) -> str:
    return f"{clock(moment.span.start)} - {clock(moment.span.end)}, score {moment.score:.3f}"


@st.dialog("Why this result", width="large")
def _explain(library: Library, asked: Asked, result: SearchResult) -> None:
    elements.line(result.video.name, "name", tooltip=result.video)
    _how_sure(library, result)
    with elements.errors_shown():
        with st.spinner("Looking at the moment again ..."):
            library = session.current().library_with_encoder()
            understood = understand(
                library, asked.text, image=asked.image, like=asked.like, yes=asked.yes, no=asked.no
            )
            explained = [
                (each, _looked(library, each))
                for each in _explanations(library, understood, result)
            ]
        for explanation, looked in explained:
            st.image(draw_explanation(explanation, looked), width="stretch")
            for term, seen in zip(explanation.terms, looked, strict=True):
                sentences = term_sentences(term) + ([looked_sentence(seen)] if seen else [])
                elements.line(f"{term.query.text}: {'; '.join(sentences)}", "text")
            for sentence in said_sentences(explanation):
                elements.line(sentence, "text")


def _how_sure(library: Library, result: SearchResult) -> None:
    rate = result.false_alarm_rate
    if rate is None:
        said = "How sure this is cannot be told for such a question."
    else:
        verdict = "a match" if rate <= library.settings.false_alarm_rate else "no match"
        said = (
            f"Of questions that have no answer here, {likelihood(rate)} finds one as good: at the"
            f" setting of {library.settings.false_alarm_rate:.0%} this is {verdict}."
        )
    elements.line(said, "text")


def _explanations(
    library: Library, understood: Understood, result: SearchResult
) -> list[Explanation]:
    """One for each step of the question."""
    steps = understood.steps
    video = library.video(result.moment.video_id)
    return [
        explain(
            library,
            [TextQuery(term.text, vector)
             for term, vector in zip(step.step.wanted, step.wanted, strict=True)],
            video,
            part.span,
        )
        for step, part in zip(steps, result.parts or (result.moment,) * len(steps), strict=True)
    ]  # fmt: skip


def _looked(library: Library, explanation: Explanation) -> tuple[LookedAt | None, ...]:
    try:
        return tuple(
            look_at(library, explanation.video, term.query, term.best_seconds)
            for term in explanation.terms
        )
    except (EncoderError, MediaError) as error:
        elements.line(f"no heat map: {error}")  # the curve explains the result all the same
        return (None,) * len(explanation.terms)
