"""A run's steps as a waterfall: when each began and how long it took, on the run's own scale of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rotor.dashboard.graph import StepGroup
from rotor.dashboard.words import duration
from rotor.store.outlines import RunOutline

__all__ = ["Row", "Timeline", "unroll"]

SCALE = 1000.0
BAR_MIN = 4.0
TICKS = 5


@dataclass(frozen=True, kw_only=True)
class Row:
    """One bar; `start` and `width` are parts of `SCALE`."""

    group: StepGroup
    start: float
    width: float
    took: str


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """All bars, and the labels of the scale from left to right."""

    rows: list[Row]
    ticks: list[str]


def unroll(run: RunOutline, groups: Sequence[StepGroup]) -> Timeline:
    """The waterfall from the run's creation to its end, or until now."""
    begin = run.created_at
    end = max(run.ended_at or run.now, *(group.ended_at or run.now for group in groups), begin)
    whole = max((end - begin).total_seconds(), 0.001)

    def place(at: datetime) -> float:
        return min(max((at - begin).total_seconds() / whole, 0.0), 1.0) * SCALE

    rows = []
    for group in groups:
        start, stop = place(group.started_at), place(group.ended_at or end)
        width = max(stop - start, BAR_MIN)
        took = duration(((group.ended_at or run.now) - group.started_at).total_seconds())
        rows.append(Row(group=group, start=min(start, SCALE - width), width=width, took=took))
    return Timeline(rows=rows, ticks=["0", *(duration(whole * tick / (TICKS - 1)) for tick in range(1, TICKS))])
