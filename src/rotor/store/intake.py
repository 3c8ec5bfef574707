"""Events come in: an event and the runs that it starts are one transaction.

Whoever waits for the event is looked for after the commit (`services/matcher.py`), by the batch's row in `deliveries`:
each side commits its own row first and then looks for the other, so neither can miss the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import chain
from uuid import UUID

from uuid_utils.compat import uuid7

from rotor import limits
from rotor.engine.matching import Candidate, Match, parse_match
from rotor.protocol import json
from rotor.protocol.json import Raw
from rotor.store.changes import Changes
from rotor.store.database import Connection, Database, Record
from rotor.store.group_commit import GroupCommit

__all__ = ["EventRow", "Intake", "NewEvent", "NewRun", "accept", "insert_runs", "start_runs"]


EVENT_BYTES = 1_000
"""What an event weighs without its data."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event as it was sent. Without an `id` it gets one; `ts` in the future defers it."""

    name: str
    data: Raw
    id: str | None = None
    ts: datetime | None = None
    traceparent: str | None = None
    """Which span it was sent in: the runs that it starts belong to that trace."""


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event about to be written."""

    workspace_id: int
    id: str
    name: str
    data: bytes
    ts: datetime | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run about to be written."""

    workspace_id: int
    function_id: str
    event_id: str
    id: UUID = field(default_factory=uuid7)
    depth: int = 0
    parent: tuple[UUID, str, int] | None = None
    replay_of: UUID | None = None


class Intake:
    """Accepts events, many requests in one transaction."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes
        self.commits: GroupCommit[list[EventRow], None] = GroupCommit("event intake", self._write, _weight)

    async def accept(self, workspace_id: int, events: Sequence[NewEvent]) -> list[str]:
        """The ids of `events`, once they and the runs that they start are durable. Raises `Overloaded`."""
        rows = [
            EventRow(workspace_id, event.id or str(uuid7()), event.name, bytes(event.data), event.ts, event.traceparent)
            for event in events
        ]
        await self.commits.submit(rows)
        return [row.id for row in rows]

    async def _write(self, requests: Sequence[list[EventRow]]) -> list[None]:
        async with self._database.transaction() as connection:
            started = await accept(connection, list(chain.from_iterable(requests)))
        self._changes.delivered.set()
        if started:
            self._changes.queued.set()
        return [None] * len(requests)


async def accept(connection: Connection, events: Sequence[EventRow]) -> int:
    """Write `events`, the runs that they start and the look-out for their waiters; return how many runs were started.

    An event whose id the workspace has already had, in this batch or before, changes nothing.
    """
    unique: dict[tuple[int, str], EventRow] = {}
    for event in events:
        unique.setdefault((event.workspace_id, event.id), event)
    rows = await insert_events(connection, list(unique.values()))
    effective = [(unique[row["workspace_id"], row["id"]], row) for row in rows if row["position"] is not None]
    deferred = [row for row in rows if row["position"] is None]
    started = await start_runs(connection, [(event, row["ts"]) for event, row in effective])
    if effective:
        await connection.execute(
            "insert_deliveries",
            [event.workspace_id for event, _ in effective],
            [event.id for event, _ in effective],
            _batches([event for event, _ in effective]),
        )
    if deferred:
        await connection.execute(
            "insert_deferrals",
            [row["workspace_id"] for row in deferred],
            [row["id"] for row in deferred],
            [row["ts"] for row in deferred],
        )
    return started


def _batches(events: Sequence[EventRow]) -> list[int]:
    """Per event the number of its delivery: as many go into one as the matcher should hold at once."""
    numbers, number, count, size = [], 0, 0, 0
    for event in events:
        if count and (count >= limits.BATCH or size + len(event.data) > limits.BATCH_BYTES):
            number, count, size = number + 1, 0, 0
        numbers.append(number)
        count, size = count + 1, size + len(event.data)
    return numbers


async def insert_events(connection: Connection, events: Sequence[EventRow]) -> list[Record]:
    """Write `events` alone; return the rows that are new."""
    return await connection.fetch(
        "insert_events",
        [event.workspace_id for event in events],
        [event.id for event in events],
        [event.name for event in events],
        connection.sealed((event.workspace_id for event in events), [event.data for event in events]),
        [event.ts for event in events],
        [event.traceparent for event in events],
    )


async def start_runs(connection: Connection, events: Sequence[tuple[EventRow, datetime]]) -> int:
    """Start a run for each function that one of `events` triggers; `(event, ts)` pairs."""
    if not events:
        return 0
    names = sorted({(event.workspace_id, event.name) for event, _ in events})
    triggers = await connection.fetch("read_event_triggers", [name[0] for name in names], [name[1] for name in names])
    if not triggers:
        return 0
    by_name: dict[tuple[int, str], list[Record]] = {}
    for trigger in triggers:
        by_name.setdefault((trigger["workspace_id"], trigger["event_name"]), []).append(trigger)
    runs = [
        NewRun(event.workspace_id, function_id, event.id)
        for event, ts in events
        for function_id in _started_by(event, ts, by_name.get((event.workspace_id, event.name), ()))
    ]
    await insert_runs(connection, runs)
    return len(runs)


def _started_by(event: EventRow, ts: datetime, triggers: Iterable[Record]) -> list[str]:
    """The functions that `event` starts, each once, whichever of its triggers match."""
    candidate: Candidate | None = None
    functions: dict[str, None] = {}
    for trigger in triggers:
        if trigger["match"] is not None:
            candidate = candidate or Candidate(
                {"id": event.id, "name": event.name, "data": json.decode(event.data), "ts": ts}
            )
            if not _parsed(trigger["match"]).accepts(candidate):
                continue
        functions[trigger["function_id"]] = None
    return list(functions)


def _weight(events: Sequence[EventRow]) -> int:
    """About how many bytes they come to, with the runs that they start."""
    return sum(len(event.data) + EVENT_BYTES for event in events)


@lru_cache(maxsize=1024)
def _parsed(expression: str) -> Match:
    return parse_match(expression)


async def insert_runs(connection: Connection, runs: Sequence[NewRun]) -> None:
    """Write new runs, due at once."""
    if not runs:
        return
    await connection.execute(
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
    )
