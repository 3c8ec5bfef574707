"""The short way from an event to a run that waits for it: one statement, with nothing read first.

A parked run whose body a worker here keeps has one outcome where an event comes that it waits for: its step has the
event, and the run goes on with that worker. Postgres checks as it writes that this is so. A run of which it is not so
goes the long way (`rotor.store.committer`), as do all that something else wakes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple
from uuid import UUID

from msgspec.structs import replace

from rotor.engine.arrivals import EventArrived, HolderLost
from rotor.engine.effects import PutStep
from rotor.engine.settling import memo_of
from rotor.protocol.messages import ResumeRun
from rotor.store.changes import Changes
from rotor.store.database import Connection, Record
from rotor.store.holders import Holders
from rotor.store.starting import GiveBack

__all__ = ["Wake", "Waking", "waking"]


class Wake(NamedTuple):
    """An event for a parked run whose body a worker here keeps."""

    arrival: EventArrived
    lease_id: UUID
    connection: int
    """The number of its keeper's connection."""


class Waking:
    """What one commit wakes."""

    def __init__(self, holders: Holders, changes: Changes, give_back: GiveBack, until_done: ExitStack) -> None:
        self._holders = holders
        self._changes = changes
        self._give_back = give_back
        self._until_done = until_done
        self._woken: list[tuple[Wake, Record]] = []
        self.group = 0
        """The number of the commit."""

    async def write(self, connection: Connection, wakes: Sequence[Wake]) -> None:
        """Wake these runs, of which each is there once, as far as their keepers have room."""
        given = sorted(self._reserved(wakes), key=lambda wake: wake.arrival.run_id)  # the order of all who lock runs
        keepers: dict[tuple[UUID, int], int] = {}
        places = [keepers.setdefault(wake[1:], len(keepers) + 1) for wake in given]
        arrivals = [wake.arrival for wake in given]
        rows = await connection.fetch(
            "put_wakes",
            [lease_id for lease_id, _ in keepers],
            [number for _, number in keepers],
            ",".join(str(arrival.run_id) for arrival in arrivals),
            ",".join(map(str, places)),
            [arrival.key.id for arrival in arrivals],
            ",".join(str(arrival.key.index) for arrival in arrivals),
            [arrival.event_id for arrival in arrivals],
            connection.sealed((arrival.workspace_id for arrival in arrivals), [arrival.event for arrival in arrivals]),
        )
        found = {wake.arrival.run_id: wake for wake in given}
        self._woken = [(found[row["id"]], row) for row in rows]
        self.group = rows[0]["number"] if rows else 0

    def _reserved(self, wakes: Sequence[Wake]) -> Iterator[Wake]:
        """As many of these as there are slots, which nobody else fills until all is done."""
        wanted = Counter(wake.lease_id for wake in wakes)
        self._until_done.callback(self._nudge, wanted.keys())
        room = Counter(self._until_done.enter_context(self._holders.reserve(wanted)))
        self._until_done.enter_context(self._holders.giving(wanted.keys()))
        for wake in wakes:
            if room[wake.lease_id]:
                room[wake.lease_id] -= 1
                yield wake

    def _nudge(self, lease_ids: Collection[UUID]) -> None:
        """The dispatcher may have found no room where slots were reserved in vain."""
        if not self._holders.hungry.isdisjoint(lease_ids):
            self._changes.queued.set()

    def hand_out(self) -> None:
        """After the commit: the workers go on. Of one that has left the run is given back; where it has come back, its
        welcome does that."""
        for wake, row in self._woken:
            run_id = row["id"]
            if not self._holders.is_on(wake.lease_id, wake.connection):
                self._give_back(HolderLost(run_id, wake.lease_id, unreached_seconds=0, connection=wake.connection))
                continue
            memo = replace(memo_of(_ended(wake.arrival)), group=self.group)
            resume = ResumeRun(run_id=str(run_id), memo=[memo], settled=row["settled"])
            self._holders.start(wake.lease_id, run_id, resume, quiet=not row["waits"] and not row["losses"])
        self._changes.runs_changed((row["id"] for _, row in self._woken))

    @property
    def woken(self) -> list[EventArrived]:
        """What came to its run."""
        return [wake.arrival for wake, _ in self._woken]

    @property
    def ended(self) -> list[PutStep]:
        """The steps that came to their end, as they are by now."""
        return [_ended(wake.arrival) for wake, _ in self._woken]


def _ended(arrival: EventArrived) -> PutStep:
    return PutStep(arrival.key, "wait_for_event", "completed", output=arrival.event, event_id=arrival.event_id)


@contextmanager
def waking(holders: Holders, changes: Changes, give_back: GiveBack) -> Iterator[Waking]:
    """Around a commit that may wake runs, and their handing out."""
    with ExitStack() as until_done:
        yield Waking(holders, changes, give_back, until_done)
