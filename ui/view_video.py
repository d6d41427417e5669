"""Video: a player of a part of it, its curve, timeline and shots, and what sums it up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from summarizer import Skim
from summarizer.chapters import Chapter
from ui import (
    computed,
    elements,
    forget_dialog,
    preview,
    rendering,
    session,
    skim_panel,
    summary_panel,
    video_sections,
)
from ui.saliency_chart import saliency_html
from ui.tag_editor import edit_tags
from ui.timeline import timeline_html
from vidsift.errors import VideoNotFoundError, VidsiftError
from vidsift.library import Library
from vidsift.times import clock
from vidsift.types import ClipRecord, Shot, Span, Summary, VideoRecord

_SHOTS_A_ROW = 8
_SECTIONS = ("Summary", "In words", "Chapters", "Unusual moments")


def show() -> None:
    """The view. Video and time are part of the address, so that a place can be shared."""
    library = session.current().library()
    forget_dialog.outcome()
    videos = [video for video in library.catalog.videos() if video.feature_file]
    if not videos:
        elements.welcome()
        return
    video = _picked(videos)
    start = _start(video)
    part = Span(start, min(start + preview.PART_SECONDS, video.duration_seconds))
    there = video.path.exists()

    left, right = st.columns([3, 2], gap="medium")
    with left, elements.errors_shown():
        _player(library, video, part, there)
    with right:
        _facts(video)
        with elements.errors_shown():
            edit_tags(library, video)
        summary_panel.make(library, video, there)
        progress = st.empty()
        forget_dialog.button(library, video)
    summary = summary_panel.chosen(library, video)
    shots = library.catalog.shots_of_video(video.id)
    _at_a_glance(library, video, summary, shots, part)
    _shot_strip(library, video, shots, start)
    with elements.errors_shown():
        _section(library, video, summary)
    rendering.finish(library, summary_panel.place_of(video), progress)


def _at_a_glance(
    library: Library, video: VideoRecord, summary: Summary | None, shots: list[Shot], part: Span
) -> None:
    """The curve of saliency and the timeline, on one axis, with what is chosen marked in both."""
    on: list[Span] = []
    off: list[Span] = []
    if summary is not None:
        skim = Skim.of(video, summary)
        for each, left_out in zip(
            skim.parts, skim_panel.is_off(skim, summary_panel.place_of(video)), strict=True
        ):
            (off if left_out else on).append(each.segment.span)
        with elements.errors_shown():
            pts, saliency = computed.curve(library, video, summary.query)
            st.html(saliency_html(pts, saliency, video.duration_seconds, on, off))
    query = summary.query if summary is not None else ""
    st.html(
        timeline_html(
            video.duration_seconds, shots, on, part, query=query, chapters=_chapters(library, video)
        )
    )


def _chapters(library: Library, video: VideoRecord) -> Sequence[Chapter]:
    """The chapters for the timeline; none where they cannot be told, which their section says."""
    try:
        return computed.chapters(library, video)
    except VidsiftError:
        return ()


def _section(library: Library, video: VideoRecord, summary: Summary | None) -> None:
    section = st.segmented_control(
        "What to look at",
        _SECTIONS,
        default=_SECTIONS[0],
        required=True,
        key="video-section",
        label_visibility="collapsed",
    )
    if section == "Chapters":
        video_sections.chapter_list(library, video, _go)
    elif section == "In words":
        video_sections.in_words(library, video, summary, _go)
    elif section == "Unusual moments":
        video_sections.unusual(library, video, _go)
    elif summary is not None:
        summary_panel.show(library, video, summary)
    else:
        elements.line("There is no summary of this video yet; make one above.", "text")


def _picked(videos: list[VideoRecord]) -> VideoRecord:
    by_id = {video.id: video for video in videos}
    wanted = st.query_params.get("id", str(st.session_state.get("video-last", "")))
    if wanted.isdecimal() and int(wanted) in by_id:
        st.session_state["video-box"] = int(wanted)
    elif wanted and "id" in st.query_params:
        del st.query_params["id"]
        with elements.errors_shown():
            raise VideoNotFoundError(f"no video with the id {wanted} can be shown; pick one here")
    if st.session_state.get("video-box") not in by_id:
        st.session_state.pop("video-box", None)
    names = Counter(video.path.name for video in videos)

    def label(video_id: int) -> str:
        path = by_id[video_id].path
        return path.name if names[path.name] == 1 else f"{path.name} ({path.parent})"

    picked = st.selectbox(
        "Video",
        sorted(by_id, key=lambda video_id: label(video_id).lower()),
        format_func=label,
        key="video-box",
        on_change=_video_changed,
        label_visibility="collapsed",
    )
    st.session_state["video-last"] = picked
    st.query_params["id"] = str(picked)
    return by_id[picked]


def _video_changed() -> None:
    st.query_params.from_dict({"id": str(st.session_state["video-box"])})


def _start(video: VideoRecord) -> float:
    """The time of the address, kept within the video; 0 where it names none."""
    try:
        seconds = float(st.query_params.get("t", "0"))
    except ValueError:
        return 0.0
    last = max(0.0, video.duration_seconds - 1)
    return min(max(0.0, seconds), last)  # in this order, which makes 0 of what is no number


def _go(seconds: float) -> None:
    st.query_params["t"] = f"{max(0.0, seconds):.2f}"
    st.session_state["video-autoplay"] = True


def _player(library: Library, video: VideoRecord, part: Span, there: bool) -> None:
    if there:
        with st.spinner("Cutting this part ..."):
            clip = preview.part_clip(library, video, part.start)
        autoplay = bool(st.session_state.pop("video-autoplay", False))
        elements.play(clip, autoplay=autoplay, name=f"{video.path.name} from {clock(part.start)}")
    else:
        st.warning(
            "The file of this video is gone. Its pictures and summaries are kept; put it back, or"
            " index its folder again, to play it.",
            icon=":material/link_off:",
        )
    step = preview.PART_SECONDS
    earlier, middle, later = st.columns([1, 2, 1], vertical_alignment="center")
    earlier.button(
        "Earlier",
        icon=":material/fast_rewind:",
        width="stretch",
        disabled=part.start <= 0,
        on_click=_go,
        args=(part.start - step,),
    )
    with middle, st.container(horizontal_alignment="center"):
        elements.line(
            f"{clock(part.start)} - {clock(part.end)} of {clock(video.duration_seconds)}", "middle"
        )
    later.button(
        "Later",
        icon=":material/fast_forward:",
        width="stretch",
        disabled=part.end >= video.duration_seconds,
        on_click=_go,
        args=(part.end,),
    )


def _facts(video: VideoRecord) -> None:
    elements.facts(
        {
            "Length": elements.time_words(video.duration_seconds),
            "Picture": f"{video.width} x {video.height}",
            "Codec": video.codec,
            "Sound": "yes" if video.has_audio else "no",
            "Frame rate": f"{float(video.frame_rate):.4g}/s",
            "Size": elements.size_words(video.fingerprint.size_bytes),
            "Frames seen": f"{video.num_frames:,}",
            "Clips": f"{video.num_clips:,}",
        }
    )
    if video.note:
        elements.line(video.note, "text")


def _shot_strip(library: Library, video: VideoRecord, shots: list[Shot], start: float) -> None:
    """A picture of each shot in order of time; a click plays from there."""
    pictures: dict[int, ClipRecord] = {}
    for record in library.catalog.clips_of_video(video.id):
        pictures.setdefault(record.clip.shot, record)
    # Between two looks at the catalog the video may have been indexed anew.
    numbers = sorted(number for number in pictures if number < len(shots))
    if not numbers:
        return
    playing = max((n for n in numbers if shots[n].span.start <= start + 1e-6), default=numbers[0])
    pages = -(-len(numbers) // _SHOTS_A_ROW)
    page = 1
    if pages > 1:
        page = st.pagination(
            pages,
            default=numbers.index(playing) // _SHOTS_A_ROW + 1,
            key=f"shots-of-{video.id}",
        )
    row = numbers[(page - 1) * _SHOTS_A_ROW : page * _SHOTS_A_ROW]
    with st.container(key=f"strip-{video.id}"):
        for number in row:
            picture = library.thumbnail(video, pictures[number].ordinal)
            kind = "now" if number == playing else "clip"
            label = clock(shots[number].span.start)
            if elements.tile(picture, label, f"shot-{video.id}-{number}", kind=kind):
                _go(shots[number].span.start)
                st.rerun()


if __name__ == "__main__":
    show()
