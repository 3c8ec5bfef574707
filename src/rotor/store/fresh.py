"""What this server has just committed and has still to look at, so that the matcher need not read it back.

Only a shortcut: each delivery is on record too, and any server takes it up where this one has not looked at it within
`HELD_FOR`; so is each wait that has not looked back. What does not fit in here is left to the database at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from rotor import limits
from rotor.engine.effects import PutWait

__all__ = ["HELD_FOR", "Accepted", "Delivery", "EffectiveEvent", "Fresh", "agree", "merged"]

HELD_FOR = timedelta(seconds=5)
"""How long a delivery is left to the server that committed it."""
DELIVERY_BYTES = 500
"""What one weighs without its events, and an event without its data."""
HASH_BYTES = 40
WAIT_BYTES = 2_000
"""What a wait weighs."""


class EffectiveEvent(msgspec.Struct, frozen=True, gc=False):
    """An event that has taken effect, and what the waits for it are stored under."""

    workspace_id: int
    id: str
    name: str
    data: bytes
    ts: datetime
    effective_at: datetime
    position: int
    hashes: tuple[int, ...] = ()
    """Of its values at the paths that waits use; first 0, for waits without a path."""

    @property
    def place(self) -> tuple[datetime, int]:
        """Its place in the order in which events took effect."""
        return self.effective_at, self.position

    @property
    def weight(self) -> int:
        """About how many bytes it comes to."""
        return DELIVERY_BYTES + len(self.data) + HASH_BYTES * len(self.hashes)


class Delivery(msgspec.Struct, frozen=True):
    """Events of one commit. Nobody waited for the others of that commit."""

    ids: Sequence[int]
    """Its rows of `deliveries`."""
    revisions: Mapping[int, int]
    """What was known of the waits: the revisions of the workspaces."""
    events: Sequence[EffectiveEvent]

    @property
    def weight(self) -> int:
        """About how many bytes it comes to."""
        return DELIVERY_BYTES + sum(event.weight for event in self.events)


def agree(revisions: Mapping[int, int], others: Mapping[int, int]) -> bool:
    """Whether no workspace is at another revision in `others`."""
    return all(revisions.get(workspace_id, revision) == revision for workspace_id, revision in others.items())


def merged(deliveries: Iterable[Delivery]) -> dict[int, int]:
    """The revisions of deliveries that agree."""
    return {workspace_id: revision for delivery in deliveries for workspace_id, revision in delivery.revisions.items()}


class Accepted(NamedTuple):
    """What the commit of some events leaves to be done."""

    queued: bool
    """Runs are due."""
    delivery: Delivery | None
    """What this server is to look at; None: nothing."""
    elsewhere: bool
    """It has no room for it, and leaves it to the database."""
    taken: bool = False
    """Each of the events that somebody may wait for has woken a run."""


class Fresh:
    """A queue with a limit: FRESH_BYTES."""

    def __init__(self) -> None:
        self.elsewhere = True
        """The database may have something to look at that is not in here."""
        self._deliveries: deque[Delivery] = deque()
        self._waits: deque[PutWait] = deque()
        self._weight = 0
        self._looking = False
        self.looked: list[int] = []
        """Deliveries that have been looked at and are still to be deleted."""
        self.revisions: dict[int, int] = {}
        """What was known of the waits then: the revisions of workspaces."""

    @property
    def has_room(self) -> bool:
        """Whether the next commit may leave its events here."""
        return self._weight < limits.FRESH_BYTES

    def put(self, delivery: Delivery) -> None:
        self._deliveries.append(delivery)
        self._weight += delivery.weight

    def take(self) -> list[Delivery]:
        """The earliest, and what goes with it: up to a batch of events, made at the same revisions."""
        taken: list[Delivery] = []
        revisions: dict[int, int] = {}
        count = 0
        while self._deliveries:
            earliest = self._deliveries[0]
            count += len(earliest.events)
            if taken and (count > limits.BATCH or not agree(revisions, earliest.revisions)):
                break
            taken.append(self._deliveries.popleft())
            revisions |= earliest.revisions
            self._weight -= earliest.weight
        self._looking = bool(taken)
        return taken

    def looked_at(self, deliveries: Sequence[Delivery]) -> None:
        """What was taken last needs no other look. Its revisions agree with those of what was looked at before."""
        self._looking = False
        self.looked += [number for delivery in deliveries for number in delivery.ids]
        self.revisions |= merged(deliveries)

    def deleted(self) -> None:
        """What was looked at does not stand any more, or is to be looked at again."""
        self.looked, self.revisions = [], {}

    def is_through(self, revisions: Mapping[int, int]) -> bool:
        """Whether this server knows of no event that has still to be looked at, by what is known of the waits at these
        revisions."""
        return not (self._deliveries or self._looking or self.elsewhere) and agree(self.revisions, revisions)

    def put_waits(self, waits: Sequence[PutWait]) -> None:
        self._waits.extend(waits)
        self._weight += len(waits) * WAIT_BYTES

    def take_waits(self) -> list[PutWait]:
        """The earliest, in the order in which they were registered: a batch at most."""
        taken = [self._waits.popleft() for _ in range(min(len(self._waits), limits.BATCH))]
        self._weight -= len(taken) * WAIT_BYTES
        return taken

    def __bool__(self) -> bool:
        return bool(self._deliveries or self._waits)
