"""Alerts: the questions that every new video is asked, and what they have found."""

from __future__ import annotations

import shlex
from pathlib import Path

import streamlit as st

from search.standing import DEFAULT_RATE, check_question, check_rate
from ui import elements, preview, session
from ui.standing import local_time
from vidsift.library import Library
from vidsift.store import standing
from vidsift.store.standing import Alert, StandingQuestion
from vidsift.times import clock
from vidsift.types import Moment, VideoRecord

_REFRESH_SECONDS = 5.0
_FIRST = 24  # alerts that are shown at first, and how many more a click adds
_RATES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
_PLAYING = "alert-playing"


def show() -> None:
    """The view."""
    workspace = session.current()
    library = workspace.library()
    elements.heading(
        "Alerts", "Questions that every new video is asked, and the moments that answer them."
    )
    found, asked = st.columns([5, 3], gap="large")
    with asked:
        _add(library)
        questions = standing.questions(library.catalog)
        _questions(library, questions)
        if questions:
            elements.line("New videos are asked while this runs:")
            command = f"vidsift watch FOLDER --library {shlex.quote(str(library.root))}"
            st.code(command, language="bash", wrap_lines=True)
    with found:
        _player(library)
        # While this stays open new alerts come in; the form beside it is not drawn again.
        _alerts()


def _add(library: Library) -> None:
    with st.form("standing-form", clear_on_submit=False):
        question = st.text_input(
            "Question",
            key="standing-question",
            placeholder="for example: a person at the door, a red car",
        )
        rate = st.select_slider(
            "Of videos that have nothing to do with it, so many may raise a false alarm",
            _RATES,
            DEFAULT_RATE,
            format_func=_rate_words,
            key="standing-rate",
        )
        asked = st.form_submit_button("Ask every new video", type="primary")
    if not asked:
        return
    with elements.errors_shown():
        check_question(question)
        check_rate(rate)
        standing.add_question(library.catalog, question.strip(), rate)
        st.toast(f"Every new video is asked: {elements.plain(question)}")


def _rate_words(rate: float) -> str:
    return f"1 video in {1 / rate:.0f}"


def _questions(library: Library, questions: list[StandingQuestion]) -> None:
    for each in questions:
        with st.container(
            border=True, horizontal=True, vertical_alignment="center", key=f"standing-{each.id}"
        ):
            with st.container(gap="xxsmall"):
                elements.line(each.question, "name", tooltip=each.question)
                elements.line(
                    f"at most {_rate_words(each.false_alarm_rate)} falsely,"
                    f" since {local_time(each.created_at)[:-3]}",
                    "small",
                )
            with st.popover("Remove", type="tertiary", key=f"remove-{each.id}"):
                st.button(
                    "Ask it no more, and forget its alerts",
                    key=f"removed-{each.id}",
                    on_click=_remove,
                    args=(library, each.id),
                )


def _remove(library: Library, question_id: int) -> None:
    with elements.errors_shown():
        # Another session may have been faster: then it is gone, which is what was wished for.
        if any(each.id == question_id for each in standing.questions(library.catalog)):
            standing.remove_question(library.catalog, question_id)


def _player(library: Library) -> None:
    """The alert whose picture was clicked; not in the part that is drawn again and again."""
    playing = st.session_state.get(_PLAYING)
    found = standing.alerts(library.catalog, ids=[playing]) if playing is not None else []
    if not found:
        return
    (alert,) = found
    with st.container(border=True, key="alert-player"):
        elements.line(f"{alert.question}: {alert.video.name}", "name", tooltip=alert.video)
        with elements.errors_shown():
            video = library.video(alert.video_id)
            with st.spinner("Cutting the moment ..."):
                clip = preview.moment_clip(library, video, _moment(alert))
            elements.play(clip, autoplay=True, name=f"{alert.video.name}, {_span(alert)}")
        with st.container(horizontal=True):
            st.button("Close", key="alert-close", on_click=_close)
            if st.button("Open the video here", key="alert-open", icon=":material/movie:"):
                elements.open_video(alert.video_id, alert.span.start)


def _close() -> None:
    st.session_state.pop(_PLAYING, None)


@st.fragment(run_every=_REFRESH_SECONDS)
def _alerts() -> None:
    with elements.errors_shown():
        library = session.current().library()
        found = standing.alerts(library.catalog)[::-1]
        if not found:
            elements.line("No question has found anything yet.", "text")
            return
        unseen = [alert.id for alert in found if not alert.seen]
        with st.container(horizontal=True, vertical_alignment="center", key="alerts-head"):
            total = f"{len(found):,} alert{'' if len(found) == 1 else 's'}"
            elements.line(f"{total}, {len(unseen):,} not seen", "text")
            st.button(
                "Mark all seen",
                key="alerts-all-seen",
                icon=":material/done_all:",
                disabled=not unseen,
                on_click=_mark,
                args=(library, unseen, True),
            )
        wanted = st.session_state.get("alerts-wanted", _FIRST)
        with st.container(key="grid-alerts"):
            for alert in found[:wanted]:
                _card(library, alert)
        if wanted < len(found):
            st.button("Show more", key="alerts-more", on_click=_show_more, args=(wanted + _FIRST,))


def _show_more(wanted: int) -> None:
    st.session_state["alerts-wanted"] = wanted


def _mark(library: Library, ids: list[int], seen: bool) -> None:
    with elements.errors_shown():
        standing.mark_seen(library.catalog, ids, seen)


def _card(library: Library, alert: Alert) -> None:
    with st.container(border=True, key=f"card-alert-{alert.id}"):
        video = library.catalog.video(alert.video_id)
        label = f":material/play_arrow: {_span(alert)}"
        kind = "weak" if alert.seen else "clip"
        if video is not None and alert.is_current:
            picture = _picture(library, video, alert)
            if elements.tile(picture, label, f"alert-{alert.id}", kind=kind):
                _seen_and_played(library, alert)
        else:
            elements.line(f"{_span(alert)}, of an earlier version of the video", "small")
        elements.line(alert.question, "name", tooltip=alert.question)
        elements.line(alert.video.name, "note", tooltip=alert.video)
        elements.line(f"{local_time(alert.found_at)}, {_how_sure(alert)}", "small")
        st.button(
            "Seen" if alert.seen else "Mark seen",
            key=f"seen-{alert.id}",
            icon=":material/visibility:" if alert.seen else ":material/done:",
            type="tertiary",
            help="Mark it as not seen" if alert.seen else None,
            on_click=_mark,
            args=(library, [alert.id], not alert.seen),
        )


def _seen_and_played(library: Library, alert: Alert) -> None:
    st.session_state[_PLAYING] = alert.id
    _mark(library, [alert.id], True)
    st.rerun()  # the whole page: the player stands above


def _picture(library: Library, video: VideoRecord, alert: Alert) -> Path:
    clips = library.catalog.clips_of_video(video.id)
    place = alert.span.nearest([clip.clip.span for clip in clips])
    return library.thumbnail(video, clips[place].ordinal)


def _how_sure(alert: Alert) -> str:
    if alert.false_alarm_rate is None:
        return f"said: “{alert.said}”"
    return f"{alert.false_alarm_rate:.1%} by chance"


def _moment(alert: Alert) -> Moment:
    return Moment(alert.video_id, 0, alert.span, alert.peak_seconds, alert.score)


def _span(alert: Alert) -> str:
    return f"{clock(alert.span.start)} - {clock(alert.span.end)}"


if __name__ == "__main__":
    show()
