"""The short way from an event to a run that waits for it: one statement, with nothing read first.

A parked run whose body a worker here keeps has one outcome where an event comes that it waits for: its step has the
event, and the run goes on with that worker. Postgres checks as it writes that this is so. A run of which it is not so
goes the long way (`rotor.store.committer`), as do all that something else wakes.

Where this server remembers the wait, the statement is the one that writes the event. What speaks against that leaves
the run to the look for waiters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace

from rotor.engine.arrivals import EventArrived, HolderLost
from rotor.engine.effects import PutStep
from rotor.engine.run import StepKey
from rotor.engine.settling import memo_of
from rotor.protocol.json import Raw
from rotor.protocol.messages import ResumeRun
from rotor.store.changes import Changes
from rotor.store.database import Connection, Record
from rotor.store.event_rows import EventRow, as_seen
from rotor.store.fresh import EffectiveEvent
from rotor.store.holders import Holders
from rotor.store.known_waits import Taker, Wanted
from rotor.store.starting import GiveBack
from rotor.store.wait_spans import ended_waits

__all__ = ["Offered", "Trace", "Wake", "Waking", "waking"]

Trace = Callable[[Sequence[StepKey], int], None]
"""Takes waits that have come to their end, and the number of the commit that ended them."""


class Wake(NamedTuple):
    """An event for a parked run whose body a worker here keeps."""

    arrival: EventArrived
    lease_id: UUID
    connection: int
    """The number of its keeper's connection."""


class Offered(NamedTuple):
    """Waits that may take the events of one commit, and who goes on with their runs."""

    takers: Sequence[Taker]
    keepers: Mapping[UUID, tuple[UUID, int]]
    """By run: the lease of its keeper, and the number of its connection."""
    looked: Sequence[int]
    """Deliveries that have been looked at."""

    @property
    def alone(self) -> tuple[object, ...] | None:
        """As the statement for a single event and run wants it; None: there are several."""
        if len(self.takers) > 1:
            return None
        ((wait, event, _),) = self.takers
        keeper, key = self.keepers[wait.key.run_id], wait.key
        return *keeper, key.run_id, wait.group, key.id, key.index, _up_to_its_time(event), self.looked

    @property
    def columns(self) -> tuple[object, ...]:
        """As the statement wants it."""
        waits = [taker.wait for taker in self.takers]
        leases, places = _places([self.keepers[wait.key.run_id] for wait in waits])
        return (
            *leases,
            ",".join(str(wait.key.run_id) for wait in waits),
            ",".join(map(str, places)),
            ",".join(str(wait.group) for wait in waits),
            [wait.key.id for wait in waits],
            ",".join(str(wait.key.index) for wait in waits),
            ",".join(str(taker.place) for taker in self.takers),
            [taker.event.id for taker in self.takers],
            [_up_to_its_time(taker.event) for taker in self.takers],
            self.looked,
        )


class _Woken(NamedTuple):
    """A run that goes on with its keeper."""

    wake: Wake
    settled: int
    quiet: bool


class Waking:
    """What one commit wakes."""

    def __init__(
        self, holders: Holders, changes: Changes, give_back: GiveBack, trace: Trace, until_done: ExitStack
    ) -> None:
        self._holders = holders
        self._changes = changes
        self._give_back = give_back
        self._trace = trace
        self._until_done = until_done
        self._woken: list[_Woken] = []
        self._group = 0
        """The number of the commit."""

    async def write(self, connection: Connection, wakes: Sequence[Wake]) -> None:
        """Wake these runs, of which each is there once, as far as their keepers have room."""
        room = self._reserve(wake.lease_id for wake in wakes)
        given = [wake for wake in wakes if _has_room(room, wake.lease_id)]
        given.sort(key=lambda wake: wake.arrival.run_id)  # the order of all who lock runs
        leases, places = _places([wake[1:] for wake in given])
        arrivals = [wake.arrival for wake in given]
        rows = await connection.fetch(
            "put_wakes",
            *leases,
            ",".join(str(arrival.run_id) for arrival in arrivals),
            ",".join(map(str, places)),
            [arrival.key.id for arrival in arrivals],
            ",".join(str(arrival.key.index) for arrival in arrivals),
            [arrival.event_id for arrival in arrivals],
            connection.sealed((arrival.workspace_id for arrival in arrivals), [arrival.event for arrival in arrivals]),
        )
        found = {wake.arrival.run_id: wake for wake in given}
        self._woken = [_Woken(found[row["id"]], row["settled"], not row["waits"] and not row["losses"]) for row in rows]
        self._group = rows[0]["number"] if rows else 0

    def offer(self, wanted: Sequence[Wanted], revisions: Mapping[int, int]) -> Offered | None:
        """Who takes these events in the commit that writes them, as far as this server knows; slots for the runs are
        reserved. None where nobody does, or an earlier event may have still to be looked at."""
        fresh = self._changes.fresh
        most = sum(map(self._holders.room, self._holders.keeping()))
        if not (wanted and most and len(self._holders.waits) and fresh.is_through(revisions)):
            return None
        takers = self._holders.waits.takers(wanted, most)
        keepers = self._holders.keepers_of(taker.wait.key.run_id for taker in takers) if takers else {}
        takers = [taker for taker in takers if taker.wait.key.run_id in keepers]
        if not takers:
            return None
        room = self._reserve(keepers[taker.wait.key.run_id][0] for taker in takers)
        given = [taker for taker in takers if _has_room(room, keepers[taker.wait.key.run_id][0])]
        return Offered(given, keepers, list(fresh.looked)) if given else None

    def took(self, offered: Offered, row: Record) -> None:
        """What the statement has written. Who has not taken its event is forgotten: what was remembered is not so."""
        self._group = row["number"]
        found = {taker.wait.key.run_id: taker for taker in offered.takers}
        for run_id, settled, losses in row["woken"]:
            taker = found.pop(run_id)
            seen = as_seen(taker.event, row["now"])
            arrival = EventArrived(taker.wait.key, taker.event.id, msgspec.json.encode(seen), taker.event.workspace_id)
            self._woken.append(_Woken(Wake(arrival, *offered.keepers[run_id]), settled, not losses))
        for run_id in found:
            self._holders.waits.forget(run_id)

    def _reserve(self, lease_ids: Iterable[UUID]) -> Counter[UUID]:
        """Slots of these holders, one each time, as many as there are: nobody else fills them until all is done."""
        wanted = Counter(lease_ids)
        self._until_done.callback(self._nudge, wanted.keys())
        room = self._until_done.enter_context(self._holders.reserve(wanted))
        self._until_done.enter_context(self._holders.giving(wanted.keys()))
        return Counter(room)

    def _nudge(self, lease_ids: Collection[UUID]) -> None:
        """The dispatcher may have found no room where slots were reserved in vain."""
        if not self._holders.hungry.isdisjoint(lease_ids):
            self._changes.queued.set()

    def hand_out(self) -> None:
        """After the commit: the workers go on. Of one that has left the run is given back; where it has come back, its
        welcome does that."""
        for (arrival, lease_id, connection), settled, quiet in self._woken:
            if not self._holders.is_on(lease_id, connection):
                lost = HolderLost(arrival.run_id, lease_id, unreached_seconds=0, connection=connection)
                self._give_back(lost)
                continue
            memo = replace(memo_of(_ended(arrival)), group=self._group)
            resume = ResumeRun(run_id=str(arrival.run_id), memo=[memo], settled=settled)
            self._holders.start(lease_id, arrival.run_id, resume, quiet=quiet, now=len(self._woken) == 1)
        self._changes.runs_changed(arrival.run_id for arrival in self.woken)
        if waits := ended_waits(map(_ended, self.woken)):
            self._trace(waits, self._group)

    def wakes_all_of(self, events: Sequence[EffectiveEvent]) -> bool:
        """Whether each of these events has come to a run."""
        woken = {(arrival.workspace_id, arrival.event_id) for arrival in self.woken}
        return bool(woken) and all((event.workspace_id, event.id) in woken for event in events)

    @property
    def woken(self) -> list[EventArrived]:
        """What came to its run."""
        return [woken.wake.arrival for woken in self._woken]


def _places(keepers: Sequence[tuple[UUID, int]]) -> tuple[tuple[list[UUID], list[int]], list[int]]:
    """The leases of these keepers and the numbers of their connections, each once; and the place of each in them."""
    found: dict[tuple[UUID, int], int] = {}
    places = [found.setdefault(keeper, len(found) + 1) for keeper in keepers]
    return ([lease_id for lease_id, _ in found], [number for _, number in found]), places


def _has_room(room: Counter[UUID], lease_id: UUID) -> bool:
    """Whether the holder has a slot left in `room`, which is taken."""
    room[lease_id] -= 1
    return room[lease_id] >= 0


def _up_to_its_time(event: EventRow) -> bytes:
    """An event as its workflow sees it, as far as it is known before it is written."""
    return msgspec.json.encode({"id": event.id, "name": event.name, "data": Raw(event.data)})[:-1] + b',"ts":"'


def _ended(arrival: EventArrived) -> PutStep:
    return PutStep(arrival.key, "wait_for_event", "completed", output=arrival.event, event_id=arrival.event_id)


@contextmanager
def waking(holders: Holders, changes: Changes, give_back: GiveBack, trace: Trace) -> Iterator[Waking]:
    """Around a commit that may wake runs, and their handing out."""
    with ExitStack() as until_done:
        yield Waking(holders, changes, give_back, trace, until_done)
