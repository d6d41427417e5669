"""Where segments begin and end: the budget filled to the frame, shots and spoken lines kept whole.

Pieces that were chosen leave some of the budget over, and their edges may lie within a spoken line.
First each such edge moves to where the line begins or ends, the nearer the better; then the rest of
the budget lengthens segments, the most salient first, within its own shot and only up to a line
that would not be over in time; what is still over is traded between edges so that lines stay whole.
Where a line would still be cut, it is tried to do without the least salient segments, up to a
quarter. Only if all that fails is a line cut, or a cut between shots crossed: the length that was
promised is kept in any case.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from vidsift.types import SaliencyTerm, Segment, Span

__all__ = ["fill_budget", "join_lines"]

_NOTHING = 1e-6  # seconds
_CROSSING_SECONDS = 2.0  # a move over a cut between shots counts as if so much longer


def join_lines(cues: Sequence[Span]) -> list[Span]:
    """The stretches in which someone speaks: cues that overlap are one, apart and in order."""
    joined: list[Span] = []
    for cue in sorted(cues):
        if joined and cue.start < joined[-1].end - _NOTHING:
            joined[-1] = joined[-1].hull(cue)
        else:
            joined.append(cue)
    return joined


def fill_budget(
    chosen: Sequence[Segment],
    shots: Sequence[Span],
    budget_seconds: float,
    end_seconds: float,
    *,
    cues: Sequence[Span] = (),
    least_seconds: float = 0.0,
) -> tuple[Segment, ...]:
    """The chosen segments with edges such that they last `budget_seconds` together, in time order.

    Segments of one shot that touch become one. No segment gets shorter than `least_seconds` by
    this, nor than it is if that is less. Needs `chosen` to fit the budget, at least one of them,
    and `budget_seconds <= end_seconds`.
    """
    lines = join_lines(cues)
    by_saliency = sorted(chosen, key=lambda segment: -segment.saliency)
    best: tuple[int, _Edges] | None = None
    for left_out in range(1 + (len(chosen) // 4 if lines else 0)):
        kept = by_saliency[: len(chosen) - left_out]
        edges = _Edges(kept, shots, budget_seconds, end_seconds, lines, least_seconds)
        edges.settle()
        broken = edges.broken_lines()
        if best is None or broken < best[0]:
            best = broken, edges
        if broken == 0:
            break
    assert best is not None  # noqa: S101 - the loop runs at least once
    return best[1].segments()


class _Edges:
    """The segments' edges while they move; `rest` is what is left of the budget."""

    def __init__(
        self,
        chosen: Sequence[Segment],
        shots: Sequence[Span],
        budget_seconds: float,
        end_seconds: float,
        lines: list[Span],
        least_seconds: float,
    ) -> None:
        self._chosen = sorted(chosen, key=lambda segment: segment.span)
        self._starts = [segment.span.start for segment in self._chosen]
        self._ends = [segment.span.end for segment in self._chosen]
        self._homes = [_home(segment.span, shots) for segment in self._chosen]
        self._shots = shots
        self._end = end_seconds
        self._lines = lines
        self._line_starts = [line.start for line in lines]
        self._line_ends = [line.end for line in lines]
        self._least = [min(least_seconds, segment.span.duration) for segment in self._chosen]
        self._order = sorted(range(len(chosen)), key=lambda i: -self._chosen[i].saliency)
        self._rest = budget_seconds - sum(segment.span.duration for segment in self._chosen)

    def settle(self) -> None:
        """Move the edges until the budget is filled."""
        self.leave_lines()
        self.fill(within_shot=True, cut_lines=False)
        self.trade()
        self.fill(within_shot=False, cut_lines=False)
        self.fill(within_shot=True, cut_lines=True)
        self.fill(within_shot=False, cut_lines=True)

    def broken_lines(self) -> int:
        """How many edges cut a line in two."""
        return sum(
            self._line_at(self._ends[i] if later else self._starts[i]) is not None
            and not self._touches(i, later)
            for i in range(len(self._starts))
            for later in (True, False)
        )

    def leave_lines(self) -> None:
        """Move each edge that lies in a line to the line's nearer edge that can be reached."""
        for i in self._order:
            for later in (True, False):
                edge = self._ends[i] if later else self._starts[i]
                line = self._line_at(edge)
                if line is None or self._touches(i, later):
                    continue
                moves = [(self._price(i, to), to) for to in (line.start, line.end)]
                for _, to in sorted(moves):
                    if self._can_move(i, later, to):
                        self._move(i, later, to)
                        break

    def fill(self, *, within_shot: bool, cut_lines: bool) -> None:
        """Lengthen segments by the rest of the budget, the most salient first."""
        for i in self._order:
            for later in (True, False):
                if self._rest <= 0:
                    return
                low, high = self._room(i, within_shot)
                if later:
                    to = min(high, self._ends[i] + self._rest)
                    line = None if cut_lines or to == self._next(i) else self._line_at(to)
                    to = to if line is None else line.start
                    gained = to - self._ends[i]
                else:
                    to = max(low, self._starts[i] - self._rest)
                    line = None if cut_lines or to == self._before(i) else self._line_at(to)
                    to = to if line is None else line.end
                    gained = self._starts[i] - to
                if gained > _NOTHING or (cut_lines and gained > 0):
                    self._move(i, later, to)

    def trade(self) -> None:
        """Let a segment have the whole of the line that it stands at, at the cost of others.

        Where every edge stands at a line that is longer than the rest, one takes its line, and
        others give up what they show beside lines to pay for it.
        """
        if self._rest <= _NOTHING or not self._lines:
            return
        wishes = []
        for i in self._order:
            low, high = self._room(i, within_shot=True)
            after = self._line_at(self._ends[i] + 3 * _NOTHING)
            before = self._line_at(self._starts[i] - 3 * _NOTHING)
            if after is not None and after.end <= high:
                wishes.append((after.end - self._ends[i], i, True, after.end))
            if before is not None and before.start >= low:
                wishes.append((self._starts[i] - before.start, i, False, before.start))
        for price, i, later, to in sorted(wishes):
            lacking = price - self._rest
            gifts = [
                (self._spare(j, side), j, side)
                for j in reversed(self._order)
                for side in (True, False)
                if (j, side) != (i, later)
            ]
            # One giver: two edges of one segment would have to share its length above the least.
            able = [(j, side) for spare, j, side in gifts if spare >= lacking]
            if lacking > 0 and not able:
                continue
            if lacking > 0:
                j, side = able[0]
                edge = self._ends[j] - lacking if side else self._starts[j] + lacking
                self._move(j, side, edge)
            self._move(i, later, to)
            return

    def segments(self) -> tuple[Segment, ...]:
        """The segments as they are now; those of one shot that touch are one."""
        joined: list[tuple[Segment, int]] = []
        for segment, start, end, home in zip(
            self._chosen, self._starts, self._ends, self._homes, strict=True
        ):
            own = Segment(Span(start, end), segment.saliency, segment.terms)
            if joined and joined[-1][1] == home and start - joined[-1][0].span.end < _NOTHING:
                own = _joined(joined.pop()[0], own)
            joined.append((own, home))
        return tuple(segment for segment, _ in joined)

    def _line_at(self, time: float) -> Span | None:
        """The line that a cut at this time would break."""
        place = bisect_left(self._line_starts, time - _NOTHING) - 1
        line = self._lines[place] if place >= 0 else None
        return line if line is not None and time < line.end - _NOTHING else None

    def _before(self, i: int) -> float:
        return self._ends[i - 1] if i > 0 else 0.0

    def _next(self, i: int) -> float:
        return self._starts[i + 1] if i + 1 < len(self._starts) else self._end

    def _touches(self, i: int, later: bool) -> bool:
        # What plays on into the neighbouring segment is no cut.
        if later:
            return i + 1 < len(self._starts) and self._next(i) - self._ends[i] < _NOTHING
        return i > 0 and self._starts[i] - self._before(i) < _NOTHING

    def _room(self, i: int, within_shot: bool) -> tuple[float, float]:
        low, high = self._before(i), self._next(i)
        if within_shot:
            shot = self._shots[self._homes[i]]
            low, high = max(low, shot.start), min(high, shot.end)
        return min(low, self._starts[i]), max(high, self._ends[i])

    def _price(self, i: int, to: float) -> float:
        shot = self._shots[self._homes[i]]
        crossing = to < shot.start - _NOTHING or to > shot.end + _NOTHING
        near = min(abs(to - self._starts[i]), abs(to - self._ends[i]))
        return near + (_CROSSING_SECONDS if crossing else 0.0)

    def _can_move(self, i: int, later: bool, to: float) -> bool:
        low, high = self._room(i, within_shot=False)
        longer = to - self._ends[i] if later else self._starts[i] - to
        left = self._ends[i] - self._starts[i] + longer
        return low <= to <= high and longer <= self._rest and left >= max(self._least[i], _NOTHING)

    def _spare(self, i: int, later: bool) -> float:
        """How much an edge can be drawn in before it meets a line or the least length."""
        if self._touches(i, later):
            return 0.0
        length = self._ends[i] - self._starts[i] - max(self._least[i], 10 * _NOTHING)
        if later:
            place = bisect_right(self._line_starts, self._ends[i] - _NOTHING) - 1
            quiet = self._ends[i] - (self._lines[place].end if place >= 0 else 0.0)
        else:
            place = bisect_left(self._line_ends, self._starts[i] + _NOTHING)
            begins = self._lines[place].start if place < len(self._lines) else self._end
            quiet = begins - self._starts[i]
        return max(0.0, min(length, quiet))

    def _move(self, i: int, later: bool, to: float) -> None:
        if later:
            self._rest -= to - self._ends[i]
            self._ends[i] = to
        else:
            self._rest -= self._starts[i] - to
            self._starts[i] = to


def _home(span: Span, shots: Sequence[Span]) -> int:
    """The shot that holds most of a span; shots are in order."""
    first = max(0, bisect_right(shots, span.start, key=lambda shot: shot.start) - 1)
    last = max(first + 1, bisect_left(shots, span.end, key=lambda shot: shot.start))
    return first + span.nearest(shots[first:last])


def _joined(before: Segment, after: Segment) -> Segment:
    """Two segments as one: saliency by their seconds, and what each stands for added up."""
    seconds = before.span.duration, after.span.duration
    whole = sum(seconds)
    names = [term.name for term in before.terms]
    terms = []
    if names == [term.name for term in after.terms]:
        for a, b in zip(before.terms, after.terms, strict=True):
            part = (a.weight * a.value * seconds[0] + b.weight * b.value * seconds[1]) / whole
            value = a.value + b.value
            terms.append(SaliencyTerm(a.name, value, part / value if value else a.weight))
    saliency = (before.saliency * seconds[0] + after.saliency * seconds[1]) / whole
    return Segment(before.span.hull(after.span), saliency, tuple(terms))
