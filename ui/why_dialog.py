"""Why a result was found: how sure it is, the curve, what was said, and the heat map.

All but the heat map comes from stored features and is there at once. For the heat map a frame is
decoded and, the first time, a network is prepared, which takes seconds: it is drawn when it comes.
"""

from __future__ import annotations

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from search.asking import understand
from search.explain import Explanation, TermExplanation, explain, look_at
from ui import elements, session
from ui.curve_chart import curve_chart
from ui.explanation_picture import draw_heat
from ui.explanation_text import looked_sentence, said_sentences, term_sentences
from ui.question_form import Asked
from ui.sureness import sure_in_words
from vidsift.errors import EncoderError, MediaError
from vidsift.library import Library
from vidsift.times import clock
from vidsift.types import SearchResult, TextQuery

__all__ = ["show_why"]

_LEGEND = (
    "line: similarity to the question; band: the moment; bars: the attention in it; dashed: what"
    " is usual in the library; red: the stretch that is missed most"
)


@st.dialog("Why this result", width="large")
def show_why(library: Library, asked: Asked, result: SearchResult) -> None:
    """A dialog about one result of what was asked."""
    moment = result.moment
    span = f"{clock(moment.span.start)} - {clock(moment.span.end)}"
    elements.line(f"{result.video.name}, {span}", "name", tooltip=result.video)
    if result.false_alarm_rate is not None or result.found_by != ("words",):
        limit = library.settings.false_alarm_rate
        elements.line(sure_in_words(result.false_alarm_rate, limit), "text")
    with elements.errors_shown():
        explanations = _explanations(library, asked, result)
        frames = [
            (explanation, term, _show_term(explanation, term, step))
            for explanation, step in zip(explanations, _steps(result), strict=False)
            for term in explanation.terms
        ]
        said = dict.fromkeys(line for each in explanations for line in said_sentences(each))
        if not said and result.cue is not None:
            said = {f'said at {clock(result.cue.span.start)}: "{result.cue.text}"': None}
        for line in said:
            elements.line(line, "text")
        for explanation, term, place in frames:
            with place:
                _show_frame(library, explanation, term)


def _steps(result: SearchResult) -> list[str]:
    """What is written before the terms of each step; nothing if there is but one."""
    spans = [f"{clock(part.span.start)} - {clock(part.span.end)}" for part in result.parts]
    return [f"part {number}, {span}: " for number, span in enumerate(spans, 1)] or [""]


def _explanations(library: Library, asked: Asked, result: SearchResult) -> list[Explanation]:
    """One for each step of the question; none where only words were asked for."""
    library = session.current().library_with_encoder()
    steps = understand(library, asked.text, **asked.examples).steps
    parts = result.parts or (result.moment,) * len(steps)
    video = library.video(result.moment.video_id)
    explanations = []
    for step, part in zip(steps, parts, strict=True):
        terms = zip(step.step.wanted, step.wanted, strict=True)
        queries = [TextQuery(term.text, vector) for term, vector in terms]
        explanations.append(explain(library, queries, video, part.span))
    return explanations


def _show_term(explanation: Explanation, term: TermExplanation, step: str) -> DeltaGenerator:
    """The curve of one term and what it tells; the place for its frame."""
    elements.line(f"{step}“{term.query.text}”", "name")
    left, right = st.columns([3, 2], gap="medium")
    with left, st.container(gap="xsmall"):
        st.vega_lite_chart(
            curve_chart(explanation, term),
            width="stretch",
            alt=f"similarity to “{term.query.text}” over the video's time",
        )
        elements.line(_LEGEND, "small")
        for sentence in term_sentences(term):
            elements.line(sentence, "text")
    return right.empty()


def _show_frame(library: Library, explanation: Explanation, term: TermExplanation) -> None:
    """The frame that answers best, under its heat map."""
    try:
        with st.spinner("Looking at the best frame ..."):
            looked = look_at(library, explanation.video, term.query, term.best_seconds)
    except (EncoderError, MediaError) as error:
        # The curve explains the result all the same.
        elements.line(f"no heat map: {error}", "text")
        return
    dark = np.isnan(looked.heat.over(*looked.image.shape[:2])).any()
    with st.container(gap="xsmall"):
        st.image(
            draw_heat(looked), width="stretch", alt=f"heat map of the frame, {term.query.text}"
        )
        elements.line(
            "orange speaks for it, blue against it"
            + ("; the encoder does not see what is dark" if dark else ""),
            "small",
        )
        elements.line(looked_sentence(looked), "text")
