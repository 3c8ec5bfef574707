"""A run's steps as a waterfall: when each began and how long it took, on the run's own scale of time.

A run may work for a second and sleep for a week. So a stretch in which it only waits is drawn no longer than half of
all its work, as a break that every bar across it shows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from rotor.dashboard.focus import Focus
from rotor.dashboard.grouping import Grouped, StepGroup
from rotor.dashboard.words import duration

__all__ = ["Row", "Timeline", "unroll"]

SCALE = 1000.0
BAR_MIN = 4.0
TICKS = 5
BREAK_PART = 0.5
"""How long a break is drawn at most, as a part of all the work."""
WORKS = ("run", "send_event")

Stretch = tuple[float, float]
"""From one second of the run to another."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One bar; `start` and `width` are parts of `SCALE`."""

    group: StepGroup
    depth: int
    """How deep it stands in what is unfolded."""
    start: float
    width: float
    took: str

    @property
    def key(self) -> str:
        kind = "group" if self.group.is_group else "step"
        return f"{kind}-{self.depth}-{self.group.run_id}-{self.group.first.index}-{self.group.first.id}"


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """All bars, the labels of the scale from left to right, and where it is broken: beginning and width."""

    rows: list[Row]
    ticks: list[str]
    breaks: list[tuple[float, float]]


class Scale:
    """Where on the drawing a second of the run is."""

    def __init__(self, whole: float, busy: Sequence[Stretch]) -> None:
        work = sum(end - begin for begin, end in busy)
        longest = work * BREAK_PART or whole
        self._edges = sorted({0.0, whole, *(edge for stretch in busy for edge in stretch)})
        working = {begin for begin, _ in busy}
        self._drawn = [0.0]
        self._broken: list[int] = []
        for number, (begin, end) in enumerate(pairwise(self._edges)):
            length = end - begin
            if begin not in working and length > longest:
                self._broken.append(number)
                length = longest
            self._drawn.append(self._drawn[-1] + length)

    def place(self, second: float) -> float:
        return _between(second, self._edges, self._drawn) / self._drawn[-1] * SCALE

    def second(self, place: float) -> float:
        """What `place` was given."""
        return _between(place / SCALE * self._drawn[-1], self._drawn, self._edges)

    @property
    def breaks(self) -> list[tuple[float, float]]:
        places = [(self.place(self._edges[at]), self.place(self._edges[at + 1])) for at in self._broken]
        return [(begin, end - begin) for begin, end in places]


def _between(value: float, given: Sequence[float], wanted: Sequence[float]) -> float:
    """Where `value` stands among `given`, as a value among `wanted`."""
    at = min(max(bisect_right(given, value) - 1, 0), len(given) - 2)
    length = given[at + 1] - given[at]
    part = min(max((value - given[at]) / length, 0.0), 1.0) if length else 0.0
    return wanted[at] + part * (wanted[at + 1] - wanted[at])


def unroll(drawn: Grouped, focus: Focus) -> Timeline:
    """The waterfall from the run's creation to its end, or until now."""
    run = drawn.run
    shown = list(_groups(drawn, focus, 0))
    ends = [run.ended_at or run.now, *(group.ended_at or run.now for group, _ in shown)]
    whole = max((max(ends) - run.created_at).total_seconds(), 0.001)

    def second(at: datetime) -> float:
        return min(max((at - run.created_at).total_seconds(), 0.0), whole)

    def stretch(group: StepGroup) -> Stretch:
        begin = second(group.started_at)
        return begin, max(second(group.ended_at), begin) if group.ended_at is not None else whole

    scale = Scale(whole, _joined(stretch(group) for group, _ in shown if group.first.op in WORKS))
    rows = []
    for group, depth in shown:
        begin, end = stretch(group)
        start = scale.place(begin)
        width = max(scale.place(end) - start, BAR_MIN)
        took = duration(((group.ended_at or run.now) - group.started_at).total_seconds())
        rows.append(Row(group=group, depth=depth, start=min(start, SCALE - width), width=width, took=took))
    ticks = [duration(scale.second(SCALE * tick / (TICKS - 1))) for tick in range(1, TICKS)]
    return Timeline(rows=rows, ticks=["0", *ticks], breaks=scale.breaks)


def _joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The same seconds as stretches that do not meet."""
    joined: list[Stretch] = []
    for begin, end in sorted(stretches):
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((begin, end))
    return [(begin, end) for begin, end in joined if end > begin]


def _groups(drawn: Grouped, focus: Focus, depth: int) -> Iterator[tuple[StepGroup, int]]:
    """What is drawn, and behind each that is unfolded what stands within."""
    for group in drawn.groups:
        yield group, depth
        if group.is_group and group.key in focus.unfolded:
            for step in group.steps:
                yield StepGroup(run_id=group.run_id, steps=[step]), depth + 1
        child = drawn.children.get(group.first.child_run_id) if group.first.child_run_id else None
        if child is not None and not group.is_group:
            yield from _groups(child, focus, depth + 1)
