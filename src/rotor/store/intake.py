"""Events come in: an event and the runs that it starts are one statement.

Whoever waits for the event is looked for after the commit (`services/matcher.py`), by the batch's row in `deliveries`:
each side commits its own row first and then looks for the other, so neither can miss the other.

Which functions an event starts, and under which of its values waits may be stored, is known from memory
(`store/subscriptions.py`). The statement checks that: where it is out of date, nothing is written, and it is read anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from itertools import chain
from uuid import UUID

import asyncpg
import msgspec
import uuid_utils
from uuid_utils.compat import uuid7

from rotor import limits
from rotor.engine.matching import Candidate, Match, parse_match
from rotor.protocol.json import Raw
from rotor.store.changes import Changes
from rotor.store.checks import CANCEL_RUN
from rotor.store.database import Connection, Database, Record
from rotor.store.event_rows import EventRow, as_seen, event_columns
from rotor.store.fresh import HELD_FOR, Accepted, Delivery, EffectiveEvent
from rotor.store.group_commit import GroupCommit, TryAgain
from rotor.store.holders import Holders
from rotor.store.known_waits import Wanted
from rotor.store.starting import GiveBack, Offer, Starting, starting
from rotor.store.subscriptions import Known, Subscriptions
from rotor.store.wakes import Trace, Waking, waking

__all__ = ["Intake", "NewEvent", "NewRun", "hold_functions", "insert_runs"]


EVENT_BYTES = 1_000
"""What an event weighs without its data."""


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """An event as it was sent. Without an `id` it gets one; `ts` in the future defers it."""

    name: str
    data: Raw
    id: str | None = None
    ts: datetime | None = None
    traceparent: str | None = None
    """Which span it was sent in: the runs that it starts belong to that trace."""


class NewRun(msgspec.Struct, frozen=True, gc=False):
    """A run about to be written."""

    workspace_id: int
    function_id: str
    event_id: str
    id: UUID = msgspec.field(default_factory=uuid7)
    depth: int = 0
    parent: tuple[UUID, str, int] | None = None
    replay_of: UUID | None = None


class Intake:
    """Accepts events, many requests in one transaction."""

    def __init__(
        self, database: Database, changes: Changes, holders: Holders, give_back: GiveBack, trace: Trace
    ) -> None:
        self._database = database
        self._changes = changes
        self._holders = holders
        self._give_back = give_back
        self._trace = trace
        self.subscriptions = Subscriptions()
        self.commits: GroupCommit[list[EventRow], None] = GroupCommit("event intake", self._write, _weight)

    async def accept(self, workspace_id: int, events: Sequence[NewEvent]) -> list[str]:
        """The ids of `events`, once they and the runs that they start are durable. Raises `Overloaded`."""
        rows = [
            EventRow(workspace_id, event.id or _new_id(), event.name, bytes(event.data), event.ts, event.traceparent)
            for event in events
        ]
        await self.commits.submit(rows)
        return [row.id for row in rows]

    async def _write(self, requests: Sequence[list[EventRow]]) -> list[None]:
        events = list(chain.from_iterable(requests))
        with (
            self.starting() as starts,
            waking(self._holders, self._changes, self._give_back, self._trace) as waken,
        ):
            async with self._database.connection() as connection:
                accepted = await self.accept_in(connection, events, starts, waken)
            waken.hand_out()
            starts.hand_out()
        self._changes.accepted(accepted)
        return [None] * len(requests)

    def starting(self) -> AbstractContextManager[Starting]:
        """Around a commit with new runs, which workers that are connected here may start at once."""
        return starting(self._holders, self._changes, self._give_back)

    async def accept_in(
        self, connection: Connection, events: Sequence[EventRow], starts: Starting, waken: Waking | None = None
    ) -> Accepted:
        """Write `events`, the runs that they start and the look-out for their waiters, in one transaction or as a part
        of one: after its commit `starts` are to be handed out, and `Changes.accepted` to be told. Raises `TryAgain`.

        As a transaction of their own the events may also wake runs: then `waken` is to be handed out.
        An event whose id the workspace has already had, in this batch or before, changes nothing.
        """
        unique: dict[tuple[int, str], EventRow] = {}
        for event in events:
            unique.setdefault((event.workspace_id, event.id), event)
        batch = list(unique.values())
        names = {(event.workspace_id, event.name) for event in batch}
        own = self._changes.fresh.has_room
        known = self.subscriptions.known(names)
        if known is not None and not any(known.by_name[name].needs_time for name in names):
            accepted = await _write(connection, batch, known, starts, own=own, waken=waken)
            if accepted is not None:
                return accepted
        async with connection.raw.transaction():
            known = await self.subscriptions.read(connection, names)
            now = await connection.fetchval("read_clock")
            accepted = await _write(connection, batch, known, starts, now, own=own)
        if accepted is None:
            raise TryAgain
        return accepted

    async def release(self, connection: Connection, workspace_ids: Sequence[int], event_ids: Sequence[str]) -> bool:
        """Let deferred events take effect, each once; whether runs were started."""
        rows = await connection.fetch("release_deferred_events", workspace_ids, event_ids)
        if not rows:
            return False
        known = await self.subscriptions.read(connection, {(row["workspace_id"], row["name"]) for row in rows})
        events = [EventRow(row["workspace_id"], row["id"], row["name"], row["data"], row["ts"]) for row in rows]
        runs = [
            NewRun(event.workspace_id, function_id, event.id)
            for event in events
            for function_id in _started_by(event, event.ts, known.by_name[event.workspace_id, event.name].triggers)
        ]
        held = await hold_functions(connection, {(run.workspace_id, run.function_id) for run in runs})
        runs = [run for run in runs if (run.workspace_id, run.function_id) in held]
        await insert_runs(connection, runs)
        values = [
            (event.workspace_id, event.name, match_hash, row["effective_at"], row["position"], event.id)
            for event, row in zip(events, rows, strict=True)
            for match_hash in known.by_name[event.workspace_id, event.name].hashes(event.view())[1:]
        ]
        if values:
            await connection.execute("insert_event_values", *_columns(values, 6))
        return bool(runs)


async def _write(
    connection: Connection,
    events: Sequence[EventRow],
    known: Known,
    starts: Starting,
    now: datetime | None = None,
    *,
    own: bool,
    waken: Waking | None = None,
) -> Accepted | None:
    """One statement; None where what is known is out of date, and nothing was written.

    `now` may be left out where no trigger asks for an event's time.
    """
    runs = [
        (_new_id(), str(event.workspace_id), function_id, event.id, place)
        for place, event in enumerate(events, 1)
        for function_id in _started_by(event, event.ts or now, known.by_name[event.workspace_id, event.name].triggers)
    ]
    offer = starts.offer([(events[run[4] - 1].workspace_id, run[2]) for run in runs])
    wanted = _wanted(events, known)
    columns = _Columns(connection, events, known, wanted, own)
    row = None
    try:
        if waken is not None and own and not runs and all(event.ts is None for event in events):
            row = await _wake(connection, waken, columns)
        if row is None and columns.alone is not None:
            ids, functions = [run[0] for run in runs], [run[2] for run in runs]
            (event,) = events
            row = await connection.of(event.workspace_id).fetchrow(
                "accept_event", *columns.alone, ids, functions, *offer.columns
            )
        if row is None:
            pairs = _columns(sorted({run[1:3] for run in runs}), 2)
            row = await connection.fetchrow("accept_events", *columns.all, *_columns(runs, 5), *pairs, *offer.columns)
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != "events_pkey":
            raise
        raise TryAgain from None  # another server is just writing an event of the same id
    assert row is not None
    if row["stale"]:
        return None
    positions, started = row["positions"], frozenset(row["started"])
    for (run_id, _, function_id, _, place), worker in zip(runs, offer.places, strict=True):
        if run_id in started:
            event = events[place - 1]
            seen = as_seen(event, event.ts or row["now"])
            starts.started(offer.workers[worker - 1], run_id, function_id, seen, event.traceparent)
    queued = any(positions[run[4] - 1] > 0 and run[0] not in started for run in runs)
    if not own or not row["deliveries"]:
        return Accepted(queued, None, elsewhere=bool(row["deliveries"]))
    effective = _effective(wanted, positions, row["now"])
    delivery = Delivery(row["deliveries"], known.revisions, effective)
    return Accepted(queued, delivery, elsewhere=False, taken=waken is not None and waken.wakes_all_of(effective))


async def _wake(connection: Connection, waken: Waking, columns: _Columns) -> Record | None:
    """Write events that start no run and have no time of their own, and wake who is known to wait for them; None:
    nobody is, or something speaks against it, and nothing was written.

    Where payloads are sealed it is not done: an event would have to be put together for its workflow before it has its
    time.
    """
    offered = None if connection.seals else waken.offer(columns.wanted, columns.known.revisions)
    if offered is None:
        return None
    try:
        if columns.alone is not None and offered.alone is not None:
            workspace = connection.of(columns.events[0].workspace_id)
            row = await workspace.fetchrow("accept_event_and_wake", *columns.alone, *offered.alone)
        else:
            row = await connection.fetchrow("accept_and_wake", *columns.all, *offered.columns)
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != "steps_taken":
            raise
        return None  # the run had an event of this id before, which is forgotten by now
    if row is not None:
        waken.took(offered, row)
    return row


@dataclass(frozen=True)
class _Columns:
    """Events, as the statements want them."""

    connection: Connection
    events: Sequence[EventRow]
    known: Known
    wanted: Sequence[Wanted]
    own: bool

    @cached_property
    def alone(self) -> tuple[object, ...] | None:
        """Of a single event without a time of its own, behind its workspace; None: it is not one."""
        if len(self.events) != 1 or self.events[0].ts is not None:
            return None
        (event,) = self.events
        data = self.connection.of(event.workspace_id).sealed(event.data)
        hashes = [match_hash for *_, hashes in self.wanted for match_hash in hashes[1:]]
        revision = self.known.revisions[event.workspace_id]
        return revision, event.id, event.name, data, event.traceparent, hashes, self._held_for

    @property
    def all(self) -> tuple[object, ...]:
        """Of all of them."""
        values = [
            (str(event.workspace_id), event.name, match_hash, event.id, place)
            for place, event, hashes in self.wanted
            for match_hash in hashes[1:]
        ]
        return (
            list(self.known.revisions),
            list(self.known.revisions.values()),
            *event_columns(self.connection, self.events),
            *_columns(values, 5),
            _batches(self.events),
            self._held_for,
        )

    @property
    def _held_for(self) -> timedelta:
        return HELD_FOR if self.own else timedelta()


def _effective(wanted: Sequence[Wanted], positions: Sequence[int], now: datetime) -> list[EffectiveEvent]:
    """Those of `wanted` that have just taken effect."""
    return [
        EffectiveEvent(
            event.workspace_id,
            event.id,
            event.name,
            event.data,
            event.ts or now,
            now,
            positions[place - 1],
            hashes,
        )
        for place, event, hashes in wanted
        if positions[place - 1] > 0
    ]


def _wanted(events: Sequence[EventRow], known: Known) -> list[Wanted]:
    """The events that somebody may wait for."""
    found = []
    for place, event in enumerate(events, 1):
        subscribers = known.by_name[event.workspace_id, event.name]
        if subscribers.awaited or event.name == CANCEL_RUN:
            found.append((place, event, subscribers.hashes(event.view() if subscribers.paths else {})))
    return found


def _new_id() -> str:
    """A fresh id as a text, which costs an eighth of one that is an object before."""
    return str(uuid_utils.uuid7())


def _columns(rows: Sequence[tuple[object, ...]], count: int) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(count)]


def _batches(events: Sequence[EventRow]) -> list[int]:
    """The places at which a delivery begins: as many go into one as the matcher should hold at once."""
    begins: list[int] = []
    count = size = 0
    for place, event in enumerate(events, 1):
        if not begins or count >= limits.BATCH or size + len(event.data) > limits.BATCH_BYTES:
            begins.append(place)
            count = size = 0
        count, size = count + 1, size + len(event.data)
    return begins


async def hold_functions(connection: Connection, functions: Collection[tuple[int, str]]) -> frozenset[tuple[int, str]]:
    """Those of these functions, by workspace and id, that there are: until the transaction ends nobody deletes one."""
    if not functions:
        return frozenset()
    workspace_ids, function_ids = zip(*functions, strict=True)
    rows = await connection.fetch("read_function_ids", workspace_ids, function_ids)
    return frozenset((row["workspace_id"], row["id"]) for row in rows)


def _started_by(event: EventRow, ts: datetime | None, triggers: Iterable[tuple[str, str | None]]) -> list[str]:
    """The functions that `event` starts, each once, whichever of its triggers match. `ts` may be left out where none of
    them asks for it."""
    candidate: Candidate | None = None
    functions: dict[str, None] = {}
    for function_id, match in triggers:
        if match is not None:
            candidate = candidate or Candidate(event.view(ts))
            if not _parsed(match).accepts(candidate):
                continue
        functions[function_id] = None
    return list(functions)


def _weight(events: Sequence[EventRow]) -> int:
    """About how many bytes they come to, with the runs that they start."""
    return sum(len(event.data) + EVENT_BYTES for event in events)


@lru_cache(maxsize=1024)
def _parsed(expression: str) -> Match:
    return parse_match(expression)


async def insert_runs(connection: Connection, runs: Sequence[NewRun], offer: Offer | None = None) -> frozenset[str]:
    """Write new runs, due at once; the ids of those that have started with a worker of `offer`."""
    if not runs:
        return frozenset()
    rows = await connection.fetch(
        "insert_runs",
        [run.id for run in runs],
        [run.workspace_id for run in runs],
        [run.function_id for run in runs],
        [run.event_id for run in runs],
        [run.depth for run in runs],
        [run.parent[0] if run.parent else None for run in runs],
        [run.parent[1] if run.parent else None for run in runs],
        [run.parent[2] if run.parent else None for run in runs],
        [run.replay_of for run in runs],
        *(offer or Offer([], [0] * len(runs))).columns,
    )
    return frozenset(row["id"] for row in rows)
