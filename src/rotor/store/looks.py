"""Events and waits find each other.

Each side commits its own row first and then looks for the other: an event's batch (a row of `deliveries`) for waits, a
wait (`unlooked`) for events. Both looks are durable work, done again where a server died in between, and waking is
conditional, so twice is once. Whichever side looks, the wait takes the *first* event that it may take, in the order in
which events took effect.

Waits are found by index: one required (path, value) of each is kept as a hash, and an event is hashed at every path
that some wait of its name has ever used. Looking back uses the same hashes, kept in `event_values`. No lock is needed
for that, but an order. Before a wait looks back, its path is committed, and dated after that. An event is indexed under
all paths that its statement sees, so whatever lacks one took effect before its date, and is looked through by name. And
an event that was looked at by what was known of the paths before its commit is looked at again where that has changed
since.

A wait whose look back is done has been tried on every event that was looked at since. So where nothing older still
waits to be looked at, or nothing that has the wait's value, the first of the events at hand that it accepts is the
first of all. Otherwise, and where a look back is owed, the wait looks at what came since the oldest batch that still
waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from rotor import limits
from rotor.engine.arrivals import EventArrived
from rotor.engine.effects import PutWait
from rotor.engine.matching import Candidate, Match
from rotor.engine.run import StepKey
from rotor.protocol import json
from rotor.protocol.json import Raw
from rotor.protocol.messages import Event
from rotor.store.committer import Committer
from rotor.store.database import Database, Record
from rotor.store.fresh import EffectiveEvent
from rotor.store.store import Store
from rotor.store.subscriptions import Known

__all__ = [
    "events_read_back",
    "look_at_events",
    "look_at_fresh_waits",
    "look_at_waits",
    "oldest_delivery",
    "unlooked_waits",
]

PAGE = 50
"""Events looked at a time for one wait."""
PLACES = 2_000
"""Pairs of a wait and an event looked at a time for all waits."""

Place: TypeAlias = tuple[datetime, int]
"""When an event took effect, and its position among those that did at the same time."""
Use: TypeAlias = tuple[int, str, str | None]
"""A workspace, the name of an event, and the path by which a wait tells such events apart, if it does."""
NOWHERE = (None, None)
"""Before all places: as far back as the wait looks."""
WAITS = 10_000
"""Waits that may want one of the events at hand, and are held at a time with all that they ask for."""
Stored: TypeAlias = tuple[int, str, int]
"""(workspace, topic, hash): what waits are stored under."""


@dataclass(frozen=True, slots=True)
class Look:
    """A wait, and the place up to which it has looked."""

    key: StepKey
    match: Match
    after: Place | tuple[None, None]


async def events_read_back(store: Store, rows: Sequence[Record]) -> list[EffectiveEvent]:
    """Events, with what the waits for them are stored under now."""
    if not rows:
        return []
    async with store.database.connection() as connection:
        known = await store.intake.subscriptions.read(connection, {(row["workspace_id"], row["name"]) for row in rows})
    events = []
    for row in rows:
        event = EffectiveEvent(**row)
        hashes = known.by_name[event.workspace_id, event.name].hashes(_view(event))
        events.append(msgspec.structs.replace(event, hashes=hashes))
    return events


async def look_at_events(store: Store, events: Sequence[EffectiveEvent], at_hand: Sequence[int]) -> None:
    """Give these events to the waits that may take them. `at_hand` are deliveries that need no other look: theirs, and
    those that have been looked at."""
    interested: dict[Stored, list[EffectiveEvent]] = {}
    events = sorted(events, key=attrgetter("place"))
    for event in events:
        for match_hash in event.hashes:
            interested.setdefault((event.workspace_id, f"event:{event.name}", match_hash), []).append(event)
    if not interested:
        return
    stored = [list(column) for column in zip(*interested, strict=True)]
    rows = await store.database.fetch("find_waits", *stored, at_hand, WAITS)
    since = events[0].effective_at
    if len(rows) == WAITS:
        later = [_key(row) for row in await store.database.fetch("find_wait_keys", *stored)]
        since = await oldest_delivery(store.database) or since
    else:
        chosen, later = _choose(rows, interested)
        later += await _give(store.committer, chosen)
        since = min([since, *(row["pending_since"] for row in rows[:1] if row["pending_since"] is not None)])
    for start in range(0, len(later), limits.BATCH):
        await look_at_waits(store, later[start : start + limits.BATCH], since=since)


def _choose(
    rows: Sequence[Record], interested: Mapping[Stored, Sequence[EffectiveEvent]]
) -> tuple[dict[StepKey, EffectiveEvent], list[StepKey]]:
    """The waits that take one of the events at hand, each with the first that it accepts; and those that have to look
    at others first, with all others of their runs, since of two waits of one run the earlier chooses first."""
    chosen: dict[StepKey, EffectiveEvent] = {}
    later: dict[StepKey, None] = {}
    candidates: dict[int, Candidate] = {}
    taken: dict[tuple[UUID, str], StepKey] = {}
    for row in rows:
        key = _key(row)
        if row["unlooked"]:
            later[key] = None
            continue
        match = _match(row)
        for event in interested[row["workspace_id"], row["topic"], row["match_hash"]]:
            if event.effective_at < row["since"] or event.id == row["started_by"]:
                continue
            candidate = candidates.get(event.position)
            if candidate is None:
                candidate = candidates[event.position] = Candidate(_view(event))
            if not match.accepts(candidate):
                continue
            other = taken.setdefault((key.run_id, event.id), key)
            if other is not key or _may_be_later(row, event):
                later[key] = later[other] = None
            chosen[key] = event
            break
    runs = {key.run_id for key in later}
    later |= dict.fromkeys(key for key in chosen if key.run_id in runs)
    return {key: event for key, event in chosen.items() if key.run_id not in runs}, list(later)


def _may_be_later(wait: Record, event: EffectiveEvent) -> bool:
    """Whether events of before this one still wait to be looked at, and the wait may want one of them."""
    pending: datetime | None = wait["pending_since"]
    return pending is not None and pending <= event.effective_at and wait["first_pending"] != event.position


async def _give(committer: Committer, chosen: Mapping[StepKey, EffectiveEvent]) -> list[StepKey]:
    """Wake the waits; return those that did not take their event, since another wait of the run has it."""
    encoded: dict[int, bytes] = {}
    left: list[StepKey] = []
    keys = list(chosen)
    for start in range(0, len(keys), limits.BATCH):
        some = keys[start : start + limits.BATCH]
        arrivals = []
        for key in some:
            event = chosen[key]
            if event.position not in encoded:
                encoded[event.position] = _as_event(event)
            arrivals.append(EventArrived(key, event.id, encoded[event.position], event.workspace_id))
        acted = await committer.submit_all(arrivals)
        left += [key for key, done in zip(some, acted, strict=True) if not done]
    return left


async def unlooked_waits(database: Database) -> list[StepKey]:
    """Up to a batch of waits that owe their look back."""
    return [_key(row) for row in await database.fetch("read_unlooked_waits", limits.BATCH)]


async def oldest_delivery(database: Database) -> datetime | None:
    """Since when there may be events that were not looked at yet, here or elsewhere; None: there are none."""
    since: datetime | None = await database.fetchval("read_oldest_delivery")
    return since


async def look_at_waits(store: Store, keys: Sequence[StepKey], *, since: datetime | None = None) -> None:
    """Give each of these waits the first event that it may take, if there is one.

    Waits whose look back is done look at the events that took effect at or after `since`.
    """
    waits = await store.database.fetch("read_waits", *_columns(keys))
    if waits:
        uses: dict[Use, list[StepKey]] = {}
        for wait in waits:
            uses.setdefault((wait["workspace_id"], wait["topic"][6:], wait["path"]), []).append(_key(wait))
        await _register(store, uses)
        await _look(store, [Look(_key(wait), _match(wait), (_begin(wait, since), -1)) for wait in waits])


async def look_at_fresh_waits(store: Store, waits: Sequence[PutWait]) -> None:
    """The look back of waits that have just been committed, in the order of their registration."""
    matches = {wait.key: wait.match for wait in waits if wait.match is not None}
    uses: dict[Use, list[StepKey]] = {}
    for wait in waits:
        if wait.match is not None and wait.topic is not None:
            uses.setdefault((wait.workspace_id, wait.topic[6:], wait.match.index_path), []).append(wait.key)
    await _register(store, uses)
    await _look(store, [Look(key, match, NOWHERE) for key, match in matches.items()])


async def _look(store: Store, looks: Sequence[Look]) -> None:
    """Look at page after page. What has found nothing has looked back; of the others that is noted at the end."""
    found: set[StepKey] = set()
    while looks:
        looks = await _look_back(store.database, store.committer, looks, found)
    if found:
        await store.database.execute("mark_looked", *_columns(found))


def _begin(wait: Record, since: datetime | None) -> datetime:
    looked_back_to: datetime = wait["since"]
    return looked_back_to if wait["unlooked"] or since is None else max(looked_back_to, since)


async def _look_back(database: Database, committer: Committer, looks: Sequence[Look], seen: set[StepKey]) -> list[Look]:
    """Look at a page of events for each wait; return the waits that want another. `seen` gets those with events."""
    page = max(1, min(PAGE, PLACES // len(looks)))
    columns = _columns(look.key for look in looks)
    after = [look.after[0] for look in looks], [look.after[1] for look in looks]
    rows = await database.fetch("find_events", *columns, *after, page)
    open_looks = {look.key: look for look in looks}
    found: dict[StepKey, int] = {}
    for row in rows:
        key = _key(row)
        found[key] = found.get(key, 0) + 1
    seen.update(found)
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
    for row in await database.fetch("read_events", *map(list, zip(*interested, strict=True))):
        event = EffectiveEvent(**row)
        candidate = Candidate(_view(event))
        arrived: bytes | None = None
        for key in interested[event.workspace_id, event.id]:
            if key in looks and key not in chosen and looks[key].match.accepts(candidate):
                arrived = arrived or _as_event(event)
                chosen[key] = event.place, EventArrived(key, event.id, arrived, event.workspace_id)
    # Of two waits of one run that choose the same event, the one that was registered first takes it.
    ordered = sorted(chosen, key=order.__getitem__)
    acted = await committer.submit_all([chosen[key][1] for key in ordered])
    return {key: (chosen[key][0], done) for key, done in zip(ordered, acted, strict=True)}


async def _register(store: Store, uses: Mapping[Use, Sequence[StepKey]]) -> None:
    """See to it that the events of these uses by waits are indexed. What has been added is never taken away, so memory
    that knows of it is right. A path too many is not added: its waits are found by the name alone."""
    subscriptions = store.intake.subscriptions
    names = {(workspace_id, name) for workspace_id, name, _ in uses}
    known = subscriptions.known(names)
    if known is None or not all(_is_registered(known, *use) for use in uses):
        async with store.database.connection() as connection:
            known = await subscriptions.read(connection, names)
    paths = {name: set(known.by_name[name].paths) for name in names}
    for (workspace_id, name, path), keys in uses.items():
        if _is_registered(known, workspace_id, name, path):
            continue
        workspace, others = store.database.of(workspace_id), paths[workspace_id, name]
        if path is not None and path not in others and len(others) >= limits.EVENT_PATHS:
            await store.database.execute("unindex_waits", *_columns(keys))
            continue
        await workspace.execute("add_event_use", name, path)
        if path is not None:
            await workspace.execute("date_event_path", name, path)
            others.add(path)


def _is_registered(known: Known, workspace_id: int, name: str, path: str | None) -> bool:
    subscribers = known.by_name[workspace_id, name]
    return subscribers.awaited and (path is None or (subscribers.dated and path in subscribers.paths))


def _match(wait: Record) -> Match:
    """What a wait asks for, of which only the hash is not needed again."""
    equals: dict[str, Any] = json.decode(wait["equals"]) if wait["equals"] is not None else {}
    expression: bytes | None = wait["expression"]
    return Match(tuple(equals.items()), None if expression is None else expression.decode(), wait["path"], 0)


def _view(event: EffectiveEvent) -> dict[str, Any]:
    return {"id": event.id, "name": event.name, "data": json.decode(event.data), "ts": event.ts}


def _as_event(event: EffectiveEvent) -> bytes:
    return msgspec.json.encode(Event(id=event.id, name=event.name, data=Raw(event.data), ts=event.ts))


def _place(row: Record) -> Place:
    return row["effective_at"], row["position"]


def _key(row: Record) -> StepKey:
    return StepKey(row["run_id"], row["step_id"], row["step_index"])


def _columns(keys: Iterable[StepKey]) -> tuple[list[UUID], list[str], list[int]]:
    keys = list(keys)
    return [key.run_id for key in keys], [key.id for key in keys], [key.index for key in keys]
