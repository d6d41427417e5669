"""The part of the Summaries view that makes one skim of many videos."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time

import streamlit as st

from search.query import parse_query
from summarizer import Skim, SkimPart
from summarizer.across import summarize_videos
from ui import elements, rendering, session, skim_panel
from vidsift.errors import SummaryError
from vidsift.library import Library
from vidsift.types import VideoRecord

__all__ = ["PLACE", "ask_across", "show"]

PLACE = "across"
_QUESTION = "across-question"
_OPEN = "across-open"
_MADE = "across-made"
_MOST_SECONDS = 600.0
_DEFAULT_SECONDS = 60.0


def ask_across(question: str) -> None:
    """Go to the Summaries view and have the form ask this of all videos."""
    st.session_state[_QUESTION] = question
    st.session_state[_OPEN] = True
    st.switch_page(elements.SUMMARIES_PAGE)


def show(library: Library, videos: Sequence[VideoRecord]) -> None:
    """A form for a skim of these videos or some of them, and the skim that was made last.

    The view carries out at its end what is wished for (`rendering.finish`) in PLACE.
    """
    searchable = [video for video in videos if video.status == "searchable"]
    with st.expander(
        "One summary of many videos",
        expanded=bool(st.session_state.get(_OPEN)),
        icon=":material/auto_awesome_motion:",
        key=f"expander-{PLACE}",
    ):
        if searchable:
            _form(library, searchable)
        else:
            elements.line("None of these videos can be summarised with others.", "text")
    if (made := st.session_state.get(_MADE)) is not None:
        _made(library, *made)


def _form(library: Library, videos: Sequence[VideoRecord]) -> None:
    by_id = {video.id: video for video in videos}
    with st.form("across-form", border=False):
        question = st.text_input(
            "What it is to be about", key=_QUESTION, placeholder="nothing special: a digest"
        )
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        some = left.multiselect(
            "Of which videos",
            list(by_id),
            format_func=lambda video_id: by_id[video_id].path.name,
            placeholder=f"all {len(by_id)} that are shown below",
            key="across-videos",
        )
        since = right.date_input("Indexed since", value=None, key="across-since")
        seconds = _length(videos)
        asked = st.form_submit_button(
            "Make one summary", type="primary", icon=":material/content_cut:"
        )
    if not asked:
        return
    st.session_state[_OPEN] = True
    with elements.errors_shown():
        chosen = [by_id[video_id] for video_id in some] or list(videos)
        with st.spinner("Choosing the best moments ..."):
            skim = _skim(library, chosen, question, seconds, since)
        rendering.wish(PLACE, skim_panel.as_wanted(skim, PLACE), {_MADE: (skim, chosen)})


def _length(videos: Sequence[VideoRecord]) -> float:
    total = sum(video.duration_seconds for video in videos)
    longest = round(min(total, _MOST_SECONDS), 1)
    if longest <= 2.0:
        return total
    return st.slider(
        "Length", 1.0, longest, min(_DEFAULT_SECONDS, longest / 2), step=0.5, format="%.1f s",
        key=f"across-length-{longest}",
    )  # fmt: skip


def _skim(
    library: Library,
    videos: Sequence[VideoRecord],
    question: str,
    seconds: float,
    since: date | None,
) -> Skim:
    after = None
    if since is not None:
        after = datetime.combine(since, time()).astimezone().timestamp()
        videos = [video for video in videos if video.indexed_at >= after]
        if not videos:
            raise SummaryError(f"no video of these was indexed since {since}; name an earlier day")
    query = parse_query(question) if question.strip() else ""
    if query:
        library = session.current().library_with_encoder()
    budget = min(seconds, sum(video.duration_seconds for video in videos))
    return summarize_videos(library, videos, query, seconds=budget, since=after)


def _made(library: Library, skim: Skim, asked: Sequence[VideoRecord]) -> None:
    with st.container(border=True, key="across-made"):
        with st.container(horizontal=True, key="across-head"):
            elements.heading(skim.title)
            if elements.icon_button("Close this summary", ":material/close:", "across-close"):
                del st.session_state[_MADE]
                st.rerun()
        if any(library.catalog.video(video.id) != video for video in skim.videos):
            elements.line(
                "Its videos have changed since it was made, or are gone; make it again.", "text"
            )
            return
        if skim.matched is False:
            st.info(
                f"Nothing in these videos matches “{elements.plain(skim.query)}”: these are only"
                " the moments that come nearest.",
                icon=":material/search_off:",
            )
            if st.button("Digest without the question", key="across-generic"):
                with elements.errors_shown(), st.spinner("Choosing the best moments ..."):
                    digest = summarize_videos(library, asked, seconds=skim.budget_seconds)
                    wanted = skim_panel.as_wanted(digest, PLACE)
                    rendering.wish(PLACE, wanted, {_MADE: (digest, asked)})
        skim_panel.show(library, skim, PLACE, _open)


def _open(part: SkimPart) -> None:
    elements.open_video(part.video.id, part.segment.span.start)
