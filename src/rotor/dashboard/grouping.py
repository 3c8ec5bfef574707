"""A run's steps as they are drawn: alike ones together, unfolded children within."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from rotor.dashboard.focus import group_key
from rotor.dashboard.folding import Folded, fold, stem
from rotor.dashboard.order import Order, Span, order_of
from rotor.store.outlines import RunOutline, StepOutline

__all__ = ["Grouped", "StepGroup", "group_steps"]

WORST_FIRST = ("failed", "timed_out", "retrying", "running", "waiting", "cancelled", "completed")


@dataclass(frozen=True, kw_only=True)
class StepGroup:
    """One step, or several alike ones that are drawn as one."""

    run_id: UUID
    steps: list[StepOutline]

    @property
    def first(self) -> StepOutline:
        return self.steps[0]

    @property
    def is_group(self) -> bool:
        return len(self.steps) > 1

    @property
    def key(self) -> str:
        """What it is unfolded by: a step by its child."""
        if self.is_group:
            return group_key(self.run_id, self.first.id, self.first.index)
        return str(self.first.child_run_id or "")

    @property
    def started_at(self) -> datetime:
        return self.first.started_at

    @property
    def ended_at(self) -> datetime | None:
        """When the last of them ended; None while one has not."""
        ends = [step.ended_at for step in self.steps if step.ended_at is not None]
        return max(ends) if len(ends) == len(self.steps) else None

    @property
    def counts(self) -> list[tuple[str, int]]:
        """How many have each status, the worst first."""
        counted: Counter[str] = Counter(step.status for step in self.steps)
        return [(status, counted[status]) for status in WORST_FIRST if counted[status]]

    @property
    def status(self) -> str:
        return self.counts[0][0]

    @property
    def is_mixed(self) -> bool:
        """Whether they are not alike, but put away together."""
        return len({stem(step.id) for step in self.steps}) > 1

    @property
    def title(self) -> str:
        if not self.is_group:
            return self.first.title
        if self.is_mixed:
            return "earlier steps"
        return self.first.id if len({step.id for step in self.steps}) == 1 else stem(self.first.id)


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """A run as it is drawn."""

    run: RunOutline
    groups: list[StepGroup]
    folded: Folded
    children: Mapping[UUID, Grouped]
    """The unfolded ones."""


def group_steps(run: RunOutline, steps: Sequence[StepOutline], children: Mapping[UUID, Grouped]) -> Grouped:
    """The steps of a run, alike ones together."""
    order: Order = order_of([Span(step.started_at, step.ended_at) for step in steps])
    quiet = [step.status in ("completed", "cancelled") for step in steps]
    folded = fold([(step.op, stem(step.id)) for step in steps], quiet, order)
    groups = [StepGroup(run_id=run.id, steps=[steps[number] for number in node]) for node in folded.nodes]
    return Grouped(run=run, groups=groups, folded=folded, children=children)
