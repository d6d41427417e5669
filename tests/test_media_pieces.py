"""How cuts lie on the grid of a film: its length, its cross-fades, its division into runs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsift.media.pieces import SAMPLE_RATE, Cut, Piece, lay_out, split_into_runs
from vidsift.types import Span, VideoProbe

VIDEO = VideoProbe(
    Path("a.mp4"), "mp4", "h264", "yuv420p", 640, 360, 0, Fraction(25), 60.0, 0.0, True, False
)

rates = st.sampled_from([Fraction(10), Fraction(24000, 1001), Fraction(25), Fraction(60)])
cuts = st.lists(
    st.builds(
        lambda start, length: Cut(VIDEO, Span(start, start + length)),
        st.floats(0, 1000),
        st.floats(0.02, 5),
    ),
    min_size=1,
    max_size=60,
)


@given(cuts=cuts, rate=rates, fade=st.sampled_from([0.0, 0.25, 2.0]), most=st.integers(2, 16))
def test_no_frame_is_lost_or_gained(
    cuts: list[Cut], rate: Fraction, fade: float, most: int
) -> None:
    pieces = lay_out(cuts, rate, fade)
    seconds = sum(cut.span.duration for cut in cuts)
    frames = sum(piece.frames - piece.fade for piece in pieces)
    assert abs(frames - seconds * rate) <= 0.5 + 1e-6 or frames == 1
    samples = sum(piece.samples - piece.fade_samples for piece in pieces)
    assert samples == round(frames * SAMPLE_RATE / rate)

    lent = [*(piece.fade for piece in pieces[1:]), 0]
    for piece, after in zip(pieces, lent, strict=True):
        assert piece.fade <= 2 * round(fade * rate / 2)
        body = piece.frames - piece.fade // 2 - after // 2
        assert 2 * (piece.fade // 2 + after // 2) <= body, "half of a segment is shown alone"

    runs = split_into_runs(pieces, most, rate)
    assert all(1 <= len(run) <= most for run in runs)
    assert not any(run[0].fade for run in runs)
    assert _whole(runs) == pieces


def _whole(runs: list[list[Piece]]) -> list[Piece]:
    """The runs' pieces with those put together that go on where the run before ended."""
    whole: list[Piece] = []
    for piece in (piece for run in runs for piece in run):
        last = whole[-1] if whole else None
        if last and last.cut is piece.cut and last.end == piece.first:
            assert last.end_sample == piece.first_sample
            assert last.frames > last.fade, "no fade lies on the seam"
            whole[-1] = Piece(
                last.cut,
                *(last.first, piece.end, last.first_sample, piece.end_sample),
                *(last.fade, last.fade_samples),
            )
        else:
            whole.append(piece)
    return whole


def test_what_touches_is_one() -> None:
    spans = [Span(1.0, 2.0), Span(2.0, 3.0), Span(4.0, 5.0)]
    rooms = [Span(0.5, 2.0), Span(2.0, 3.5), Span(3.5, 6.0)]
    pieces = lay_out(
        [Cut(VIDEO, span, room) for span, room in zip(spans, rooms, strict=True)], Fraction(25), 0.4
    )
    assert [piece.cut.span for piece in pieces] == [Span(1.0, 3.0), Span(4.0, 5.0)]
    assert pieces[0].cut.room == Span(0.5, 3.5)
    assert [piece.fade for piece in pieces] == [0, 10]
    assert [(piece.first, piece.end) for piece in pieces] == [(0, 55), (-5, 25)]


def test_a_room_holds_its_span() -> None:
    with pytest.raises(ValueError, match="does not hold"):
        Cut(VIDEO, Span(1.0, 2.0), Span(1.5, 3.0))
    cut = Cut(VIDEO, Span(1.0, 2.0), Span(0.9, 2.5))
    assert cut.shown_slots(Fraction(25)) == (-2, 37)
    assert Cut(VIDEO, Span(1.0, 2.0)).shown_slots(Fraction(25))[0] == -25
