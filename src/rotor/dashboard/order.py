"""What followed what in a run, told from its steps' times alone.

A body starts a step when the results that it waited for are there. So a step follows the frontier: those that had
ended when it began and that nothing had followed yet. Steps that begin while nothing ends between them share one
frontier: they are the branches of a fan, and the step that begins when the branches have ended is their join.

Times come from the database's clock, a step's start counted back from the commit of its end in whole milliseconds. So
an end and a start within `SAME_MOMENT` are in that order, and branches shorter than a commit may look as if one had
followed the other, unless they ended in the same commit.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = ["Order", "Span", "order_of"]

SAME_MOMENT = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Span:
    """When a step began, and ended if it has."""

    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Order:
    """Frontiers as the numbers of their steps, and per step the number of the frontier that it follows."""

    frontiers: list[tuple[int, ...]]
    follows: list[int]
    last: tuple[int, ...]
    """Those that nothing has followed."""


def order_of(spans: Sequence[Span]) -> Order:
    """The order of `spans`, which are sorted by their starts. Frontier 0 is empty: the beginning of the run."""
    frontiers: list[tuple[int, ...]] = [()]
    follows: list[int] = []
    in_flight: list[tuple[datetime, int]] = []
    unfollowed: dict[int, None] = {}
    for number, span in enumerate(spans):
        ended = False
        # What ended in the same commit cannot have been seen by this one before it began.
        while in_flight and in_flight[0][0] <= span.started_at + SAME_MOMENT and in_flight[0][0] != span.ended_at:
            unfollowed[heapq.heappop(in_flight)[1]] = None
            ended = True
        if ended:
            frontiers.append(tuple(unfollowed))
            unfollowed.clear()
        follows.append(len(frontiers) - 1)
        if span.ended_at is not None:
            heapq.heappush(in_flight, (span.ended_at, number))
    followed = {number for frontier in frontiers for number in frontier}
    return Order(frontiers, follows, tuple(number for number in range(len(spans)) if number not in followed))
