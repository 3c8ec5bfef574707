"""The event waits of parked runs that this server remembers, so that an event may wake a run in its own commit.

Only a shortcut: what is remembered may be out of date, and the statement that wakes checks it under the lock of the run
(`accept_and_wake`, or `accept_event_and_wake`). Whoever is not remembered is found by the look for waiters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias
from uuid import UUID

from rotor import limits
from rotor.engine.effects import PutWait
from rotor.engine.matching import Candidate, Match
from rotor.engine.run import StepKey
from rotor.store.event_rows import EventRow

__all__ = ["KnownWait", "KnownWaits", "Taker", "Wanted", "known_wait"]

MATCH_CHARACTERS = 2_000
"""A longer match is not remembered."""

Wanted: TypeAlias = tuple[int, EventRow, tuple[int, ...]]
"""An event that somebody may wait for, with its place in its batch, from 1, and what the waits for it are stored
under."""
Stored: TypeAlias = tuple[int, str, int]
"""(workspace, topic, hash): what a wait is stored under."""


class KnownWait(NamedTuple):
    """The only wait of a run that is parked, with its body kept by a worker here."""

    key: StepKey
    stored: Stored
    match: Match
    group: int
    """The commit that parked the run."""


class Taker(NamedTuple):
    """A wait, and the event that it takes."""

    wait: KnownWait
    event: EventRow
    place: int


def known_wait(wait: PutWait, group: int) -> KnownWait | None:
    """`wait` as it can be remembered; None where it cannot."""
    match, topic = wait.match, wait.topic
    if match is None or topic is None or match.asks_time:
        return None  # an event without a time of its own has one only once it is written
    characters = sum(len(path) + len(str(value)) for path, value in match.equals) + len(match.rest or "")
    if characters > MATCH_CHARACTERS:
        return None
    return KnownWait(wait.key, (wait.workspace_id, topic, match.match_hash), match, group)


class KnownWaits:
    """Up to KNOWN_WAITS of them, those of the runs that were parked last."""

    def __init__(self) -> None:
        self._by_run: dict[UUID, KnownWait] = {}
        self._stored: dict[Stored, dict[UUID, KnownWait]] = {}

    def remember(self, wait: KnownWait) -> None:
        self.forget(wait.key.run_id)
        if len(self._by_run) >= limits.KNOWN_WAITS:
            self.forget(next(iter(self._by_run)))
        self._by_run[wait.key.run_id] = wait
        self._stored.setdefault(wait.stored, {})[wait.key.run_id] = wait

    def forget(self, run_id: UUID) -> None:
        wait = self._by_run.pop(run_id, None)
        if wait is not None:
            del self._stored[wait.stored][run_id]
            if not self._stored[wait.stored]:
                del self._stored[wait.stored]

    def takers(self, wanted: Sequence[Wanted], most: int) -> list[Taker]:
        """Of these events, in their order, each wait's first that it accepts: up to so many waits."""
        found: dict[UUID, Taker] = {}
        candidates: dict[int, Candidate] = {}
        for tried, (wait, event, place) in enumerate(self._meeting(wanted)):
            if tried == limits.BATCH or len(found) == most:
                break  # the rest is left to the look for waiters
            if wait.key.run_id in found:
                continue
            if place not in candidates:
                candidates[place] = Candidate(event.view())
            if wait.match.accepts(candidates[place]):
                found[wait.key.run_id] = Taker(wait, event, place)
        return list(found.values())

    def _meeting(self, wanted: Sequence[Wanted]) -> Iterator[Taker]:
        """The waits that may want each of these events."""
        for place, event, hashes in wanted:
            for match_hash in hashes:
                for wait in self._stored.get((event.workspace_id, f"event:{event.name}", match_hash), {}).values():
                    yield Taker(wait, event, place)

    def __len__(self) -> int:
        return len(self._by_run)
