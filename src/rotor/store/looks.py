"""Events and waits find each other.

Each side commits its own row first and then looks for the other: an event's batch (a row of `deliveries`) for waits, a
wait (`unlooked`) for events. Both looks are durable work, done again where a server died in between, and waking is
conditional, so twice is once. Whichever side looks, the wait takes the *first* event that it may take, in the order in
which events took effect.

Waits are found by index: one required (path, value) of each is kept as a hash, and an event is hashed at every path
that some wait of its name has ever used. Looking back uses the same hashes, kept in `event_values`. Two rules make that
whole: a path is added under an exclusive lock of the event's name, events are indexed under a shared one; and events
that took effect before a path was added are looked through by name.

A wait whose look back is done has been tried on every event that was looked at since: there is nothing for it before
the oldest batch that still waits to be looked at. So a wait that fits few of many events costs each of them once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from rotor import limits
from rotor.engine.arrivals import EventArrived
from rotor.engine.matching import Candidate, Match, event_hashes, parse_match
from rotor.engine.run import StepKey
from rotor.protocol import json
from rotor.protocol.json import Raw
from rotor.protocol.messages import Event
from rotor.store.committer import Committer
from rotor.store.database import Database, Record

__all__ = ["index_events", "look_at_waits", "oldest_delivery", "unlooked_waits", "waits_for"]

PAGE = 50
"""Events looked at a time for one wait."""
PLACES = 2_000
"""Pairs of a wait and an event looked at a time for all waits."""

Place: TypeAlias = tuple[datetime, int]
"""When an event took effect, and its position among those that did at the same time."""
Wanted: TypeAlias = set[tuple[int, str, int]]
"""(workspace, topic, hash): what the waits are stored under that may want an event."""


@dataclass(frozen=True, slots=True)
class Look:
    """A wait, and the place up to which it has looked."""

    key: StepKey
    match: Match
    after: Place


async def index_events(database: Database, events: Sequence[Record]) -> Wanted:
    """Keep the values of `events` at the paths that waits use; return what the waits for them are stored under."""
    names = sorted({(event["workspace_id"], event["name"]) for event in events})
    columns = [name[0] for name in names], [name[1] for name in names]
    wanted: Wanted = set()
    values = []
    async with database.transaction() as connection:
        if not await connection.fetch("lock_event_names", *columns):
            return wanted
        paths = _by_name(await connection.fetch("read_event_paths", *columns))
        for event in events:
            name = event["workspace_id"], event["name"]
            if name not in paths:
                continue
            hashes = event_hashes(_view(event), sorted(paths[name])) if paths[name] else []
            wanted |= {(name[0], f"event:{name[1]}", match_hash) for match_hash in (0, *hashes)}
            values += [
                (*name, match_hash, event["effective_at"], event["position"], event["id"]) for match_hash in hashes
            ]
        if values:
            await connection.execute("insert_event_values", *map(list, zip(*values, strict=True)))
    return wanted


async def waits_for(database: Database, wanted: Wanted) -> list[StepKey]:
    """The waits that may want one of the events that `index_events` was given."""
    if not wanted:
        return []
    rows = await database.fetch("find_waits", *map(list, zip(*wanted, strict=True)))
    return [_key(row) for row in rows]


async def unlooked_waits(database: Database) -> list[StepKey]:
    """Up to a batch of waits that owe their look back."""
    return [_key(row) for row in await database.fetch("read_unlooked_waits", limits.BATCH)]


async def oldest_delivery(database: Database) -> datetime | None:
    """Since when there may be events that were not looked at yet, here or elsewhere; None: there are none."""
    since: datetime | None = await database.fetchval("read_oldest_delivery")
    return since


async def look_at_waits(
    database: Database, committer: Committer, keys: Sequence[StepKey], *, since: datetime | None = None
) -> None:
    """Give each of these waits the first event that it may take, if there is one.

    Waits whose look back is done look at the events that took effect at or after `since`.
    """
    waits = await database.fetch("read_waits", *_columns(keys))
    await _register(database, {(wait["workspace_id"], wait["topic"][6:], wait["path"]) for wait in waits})
    looks = [Look(_key(wait), _match(wait), (_begin(wait, since), -1)) for wait in waits]
    while looks:
        looks = await _look(database, committer, looks)
    owing = [_key(wait) for wait in waits if wait["unlooked"]]
    if owing:
        await database.execute("mark_looked", *_columns(owing))


def _begin(wait: Record, since: datetime | None) -> datetime:
    looked_back_to: datetime = wait["since"]
    return looked_back_to if wait["unlooked"] or since is None else max(looked_back_to, since)


async def _look(database: Database, committer: Committer, looks: Sequence[Look]) -> list[Look]:
    """Look at a page of events for each wait; return the waits that want another."""
    page = max(1, min(PAGE, PLACES // len(looks)))
    columns = _columns(look.key for look in looks)
    after = [look.after[0] for look in looks], [look.after[1] for look in looks]
    rows = await database.fetch("find_events", *columns, *after, page)
    open_looks = {look.key: look for look in looks}
    found: dict[StepKey, int] = {}
    for row in rows:
        key = _key(row)
        found[key] = found.get(key, 0) + 1
    further = {key: open_looks[key] for key, count in found.items() if count == page}
    for chunk in _chunks(rows):
        for key, (place, acted) in (await _offer(database, committer, chunk, open_looks)).items():
            look = open_looks.pop(key)
            further.pop(key, None)
            if not acted:
                # Another wait of the run took that event meanwhile, or the wait is over: the next look finds out which.
                further[key] = replace(look, after=place)
        for row in chunk:
            if (key := _key(row)) in open_looks and key in further:
                further[key] = replace(further[key], after=_place(row))
    return [further[look.key] for look in looks if look.key in further]


def _chunks(rows: Iterable[Record]) -> Iterator[list[Record]]:
    """Places in the order of their events, as many at a time as hold about BATCH_BYTES of events."""
    chunk: list[Record] = []
    events: set[tuple[int, str]] = set()
    size = 0
    for row in sorted(rows, key=_place):
        event = row["workspace_id"], row["event_id"]
        if event not in events:
            if chunk and size + row["size"] > limits.BATCH_BYTES:
                yield chunk
                chunk, events, size = [], set(), 0
            events.add(event)
            size += row["size"]
        chunk.append(row)
    if chunk:
        yield chunk


async def _offer(
    database: Database, committer: Committer, places: Sequence[Record], looks: Mapping[StepKey, Look]
) -> dict[StepKey, tuple[Place, bool]]:
    """Give each wait the first of these events that it accepts: the event's place, and whether the wait took it."""
    interested: dict[tuple[int, str], list[StepKey]] = {}
    for row in places:
        interested.setdefault((row["workspace_id"], row["event_id"]), []).append(_key(row))
    chosen: dict[StepKey, tuple[Place, EventArrived]] = {}
    order = {key: number for number, key in enumerate(looks)}
    for event in await database.fetch("read_events", *map(list, zip(*interested, strict=True))):
        candidate = Candidate(_view(event))
        arrived: bytes | None = None
        for key in interested[event["workspace_id"], event["id"]]:
            if key in looks and key not in chosen and looks[key].match.accepts(candidate):
                arrived = arrived or _as_event(event)
                chosen[key] = _place(event), EventArrived(key, event["id"], arrived)
    # Of two waits of one run that choose the same event, the one that was registered first takes it.
    ordered = sorted(chosen, key=order.__getitem__)
    acted = await committer.submit_all([chosen[key][1] for key in ordered])
    return {key: (chosen[key][0], done) for key, done in zip(ordered, acted, strict=True)}


async def _register(database: Database, used: set[tuple[int, str, str | None]]) -> None:
    """See to it that events of these (workspace, name) are indexed, at the path if there is one."""
    names = sorted({(workspace_id, name) for workspace_id, name, _ in used})
    known = _by_name(await database.fetch("read_event_paths", [name[0] for name in names], [name[1] for name in names]))
    for workspace_id, name in names:
        # A commit of its own: whoever looked before it, and held no lock, did so before the clock of `add_event_path`.
        if (workspace_id, name) not in known:
            await database.of(workspace_id).execute("add_event_name", name)
    for workspace_id, name, path in used:
        if path is not None and path not in known.get((workspace_id, name), ()):
            async with database.of(workspace_id).transaction() as connection:
                await connection.execute("lock_event_name", name)
                await connection.execute("add_event_path", name, path)


def _by_name(rows: Iterable[Record]) -> dict[tuple[int, str], set[str]]:
    paths: dict[tuple[int, str], set[str]] = {}
    for row in rows:
        paths.setdefault((row["workspace_id"], row["name"]), set()).update([row["path"]] if row["path"] else [])
    return paths


def _match(wait: Record) -> Match:
    equals: dict[str, Any] | None = json.decode(wait["equals"]) if wait["equals"] is not None else None
    expression: bytes | None = wait["expression"]
    return parse_match(None if expression is None else expression.decode(), equals)


def _view(event: Record) -> dict[str, Any]:
    return {"id": event["id"], "name": event["name"], "data": json.decode(event["data"]), "ts": event["ts"]}


def _as_event(event: Record) -> bytes:
    return msgspec.json.encode(Event(id=event["id"], name=event["name"], data=Raw(event["data"]), ts=event["ts"]))


def _place(row: Record) -> Place:
    return row["effective_at"], row["position"]


def _key(row: Record) -> StepKey:
    return StepKey(row["run_id"], row["step_id"], row["step_index"])


def _columns(keys: Iterable[StepKey]) -> tuple[list[UUID], list[str], list[int]]:
    keys = list(keys)
    return [key.run_id for key in keys], [key.id for key in keys], [key.index for key in keys]
