"""How many runs are invoked at once from one server, and whose: none of them fills it for all the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from rotor import limits

__all__ = ["SLOTS", "Openings", "Slots"]

SLOTS = limits.INVOKED_RUNS
MOST = SLOTS // 2
KEPT_FREE = SLOTS // 4
"""No function takes these that has more than MOST; and the last half of these, no such workspace."""

T = TypeVar("T")


class Openings(NamedTuple):
    """What may be invoked now."""

    runs: int
    """How many runs."""
    not_of: Sequence[int] = ()
    """None of these workspaces."""
    not_for: Sequence[tuple[int, str]] = ()
    """None of these functions, each with its workspace."""


class Slots:
    """The invocations in flight, counted."""

    def __init__(self) -> None:
        self._taken = 0
        self._by_function: Counter[tuple[int, str]] = Counter()
        """By workspace and function."""
        self._by_workspace: Counter[int] = Counter()

    def openings(self) -> Openings:
        """What may be invoked now: as many as are free, and the last of them by those who have few."""
        free = SLOTS - self._taken
        if free > KEPT_FREE:
            return Openings(free - KEPT_FREE)
        functions = [function for function, count in self._by_function.items() if count > MOST]
        if free > KEPT_FREE // 2:
            return Openings(free - KEPT_FREE // 2, not_for=functions)
        return Openings(free, [each for each, count in self._by_workspace.items() if count > MOST], functions)

    def take(self, workspace_id: int, function_id: str) -> None:
        self._taken += 1
        self._by_function[workspace_id, function_id] += 1
        self._by_workspace[workspace_id] += 1

    def give_back(self, workspace_id: int, function_id: str) -> bool:
        """Whether some may now be invoked that could not before."""
        self._taken -= 1
        of_function = _less(self._by_function, (workspace_id, function_id))
        of_workspace = _less(self._by_workspace, workspace_id)
        return SLOTS - self._taken in (1, KEPT_FREE // 2 + 1, KEPT_FREE + 1) or MOST in (of_function, of_workspace)


def _less(counter: Counter[T], key: T) -> int:
    """Count one less; how many there are left."""
    counter[key] -= 1
    return counter[key] or counter.pop(key)
