"""A run's steps as a waterfall: when each began and how long it took, on the run's own scale of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from rotor.dashboard.focus import Focus
from rotor.dashboard.grouping import Grouped, StepGroup
from rotor.dashboard.words import duration

__all__ = ["Row", "Timeline", "unroll"]

SCALE = 1000.0
BAR_MIN = 4.0
TICKS = 5


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
    """All bars, and the labels of the scale from left to right."""

    rows: list[Row]
    ticks: list[str]


def unroll(drawn: Grouped, focus: Focus) -> Timeline:
    """The waterfall from the run's creation to its end, or until now."""
    run = drawn.run
    shown = list(_groups(drawn, focus, 0))
    begin = run.created_at
    end = max(run.ended_at or run.now, *(group.ended_at or run.now for group, _ in shown), begin)
    whole = max((end - begin).total_seconds(), 0.001)

    def place(at: datetime) -> float:
        return min(max((at - begin).total_seconds() / whole, 0.0), 1.0) * SCALE

    rows = []
    for group, depth in shown:
        start, stop = place(group.started_at), place(group.ended_at or end)
        width = max(stop - start, BAR_MIN)
        took = duration(((group.ended_at or run.now) - group.started_at).total_seconds())
        rows.append(Row(group=group, depth=depth, start=min(start, SCALE - width), width=width, took=took))
    return Timeline(rows=rows, ticks=["0", *(duration(whole * tick / (TICKS - 1)) for tick in range(1, TICKS))])


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
