"""Events and waits find each other.

Each side commits its own row first and then looks for the other: an event's batch (a row of `deliveries`) for waits, a
wait (`unlooked`) for events. Both looks are durable work, done again where a server died in between, and waking is
conditional, so twice is once. Whichever side looks, the wait takes the *first* event that it may take, in the order of
acceptance.

Waits are found by index: one required (path, value) of each is kept as a hash, and an event is hashed at every path
that some wait of its name has ever used. Looking back uses the same hashes, kept in `event_values`. Two rules make that
whole: a path is added under an exclusive lock of the event's name, events are indexed under a shared one; and events
that took effect before a path was added are looked through by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from rotor import limits
from rotor.engine.arrivals import EventArrived
from rotor.engine.matching import Match, event_hashes, parse_match
from rotor.engine.run import StepKey
from rotor.protocol import json
from rotor.protocol.json import Raw
from rotor.protocol.messages import Event
from rotor.store.committer import Committer
from rotor.store.database import Database, Record

__all__ = ["index_events", "look_at_waits", "unlooked_waits", "waits_for"]

PAGE = 50
"""Events looked at a time for one wait."""


async def index_events(database: Database, events: Sequence[Record]) -> dict[tuple[int, str], list[str]]:
    """Keep the values of `events` at the paths that waits use; return those paths by (workspace, name)."""
    names = sorted({(event["workspace_id"], event["name"]) for event in events})
    columns = [name[0] for name in names], [name[1] for name in names]
    async with database.transaction() as connection:
        used = await connection.fetch("lock_event_names", *columns)
        if not used:
            return {}
        paths: dict[tuple[int, str], list[str]] = {}
        for row in await connection.fetch("read_event_paths", *columns):
            paths.setdefault((row["workspace_id"], row["name"]), []).append(row["path"])
        values = [
            (event["workspace_id"], event["name"], match_hash, event["position"], event["id"])
            for event in events
            for match_hash in event_hashes(_view(event), paths.get((event["workspace_id"], event["name"]), ()))
        ]
        if values:
            await connection.execute("insert_event_values", *map(list, zip(*values, strict=True)))
    return {(row["workspace_id"], row["name"]): paths.get((row["workspace_id"], row["name"]), []) for row in used}


async def waits_for(
    database: Database, events: Sequence[Record], paths: Mapping[tuple[int, str], list[str]]
) -> list[StepKey]:
    """The waits that may want one of `events`."""
    wanted = {
        (event["workspace_id"], f"event:{event['name']}", match_hash)
        for event in events
        if (event["workspace_id"], event["name"]) in paths
        for match_hash in (0, *event_hashes(_view(event), paths[event["workspace_id"], event["name"]]))
    }
    if not wanted:
        return []
    rows = await database.fetch("find_waits", *map(list, zip(*wanted, strict=True)))
    return [StepKey(row["run_id"], row["step_id"], row["step_index"]) for row in rows]


async def unlooked_waits(database: Database) -> list[StepKey]:
    """Up to a batch of waits that owe their look back."""
    return [_key(row) for row in await database.fetch("read_unlooked_waits", limits.BATCH)]


async def look_at_waits(database: Database, committer: Committer, keys: Sequence[StepKey]) -> None:
    """Give each of these waits the first event that it may take, if there is one."""
    waits = await database.fetch("read_waits", *_columns(keys))
    for workspace_id, name, path in sorted({(w["workspace_id"], w["topic"][6:], w["path"] or "") for w in waits}):
        await _register(database, workspace_id, name, path)
    owing = [_key(wait) for wait in waits if wait["unlooked"]]
    pending = {_key(wait): (_match(wait), 0) for wait in waits}
    while pending:
        pending = await _look(database, committer, pending)
    if owing:
        await database.execute("mark_looked", *_columns(owing))


async def _look(
    database: Database, committer: Committer, pending: Mapping[StepKey, tuple[Match, int]]
) -> dict[StepKey, tuple[Match, int]]:
    """Look at a page of events for each wait; return the waits that want another, and the position to go on after."""
    rows = await database.fetch("find_events", *_columns(list(pending)), [after for _, after in pending.values()], PAGE)
    found: dict[StepKey, list[Record]] = {}
    for row in rows:
        found.setdefault(_key(row), []).append(row)
    chosen: dict[StepKey, Record] = {}
    further: dict[StepKey, tuple[Match, int]] = {}
    for key, candidates in found.items():
        match = pending[key][0]
        first = next((event for event in candidates if match.accepts(_view(event))), None)
        if first is not None:
            chosen[key] = first
        elif len(candidates) == PAGE:
            further[key] = (match, candidates[-1]["position"])
    arrivals = [EventArrived(key, event["id"], _as_event(event)) for key, event in chosen.items()]
    acted = await committer.submit_all(arrivals)
    # Refused: another wait of the run took that event meanwhile, or the wait is over; the next look finds out which.
    for (key, event), done in zip(chosen.items(), acted, strict=True):
        if not done:
            further[key] = (pending[key][0], event["position"])
    return further


async def _register(database: Database, workspace_id: int, name: str, path: str) -> None:
    """See to it that events of this name are indexed, at `path` if there is one."""
    known = {row["path"] for row in await database.fetch("read_event_paths", [workspace_id], [name])}
    if path in known or (not path and known):
        return
    # A commit of its own: whoever looked before it, and so held no lock, did so before the clock of `add_event_path`.
    await database.execute("add_event_name", workspace_id, name)
    if path:
        async with database.transaction() as connection:
            await connection.execute("lock_event_name", workspace_id, name)
            await connection.execute("add_event_path", workspace_id, name, path)


def _match(wait: Record) -> Match:
    equals: dict[str, Any] | None = json.decode(wait["equals"]) if wait["equals"] is not None else None
    return parse_match(wait["expression"], equals)


def _view(event: Record) -> dict[str, Any]:
    return {"id": event["id"], "name": event["name"], "data": json.decode(event["data"]), "ts": event["ts"]}


def _as_event(event: Record) -> bytes:
    return msgspec.json.encode(Event(id=event["id"], name=event["name"], data=Raw(event["data"]), ts=event["ts"]))


def _key(row: Record) -> StepKey:
    return StepKey(row["run_id"], row["step_id"], row["step_index"])


def _columns(keys: Iterable[StepKey]) -> tuple[list[Any], list[Any], list[Any]]:
    keys = list(keys)
    return [key.run_id for key in keys], [key.id for key in keys], [key.index for key in keys]
