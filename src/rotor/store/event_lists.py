"""Lists of events as people look through them, newest first, and the waits that one event ended."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias
from uuid import UUID

import msgspec

from rotor.store.database import Database
from rotor.store.outlines import Beginning
from rotor.store.pages import Page, decode_cursor, encode_cursor

__all__ = ["RUNS_COUNTED", "EventLine", "ResumedWait", "page", "resumed_waits"]

RUNS_COUNTED = 100
"""So many of an event's runs are counted in a list."""

Instant: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
EventPlace: TypeAlias = tuple[Instant, Annotated[str, msgspec.Meta(pattern="^[^\\x00]+$")]]
NamedPlace: TypeAlias = tuple[Instant, Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]]


class EventLine(msgspec.Struct, frozen=True, kw_only=True):
    """One event in a list."""

    id: str
    name: str
    ts: datetime
    accepted_at: datetime
    effective_at: datetime | None
    data: Beginning
    runs: int
    """How many runs it started; `RUNS_COUNTED` where there may be more."""


class ResumedWait(msgspec.Struct, frozen=True, kw_only=True):
    """A step that waited for an event and took it."""

    run_id: UUID
    function_id: str
    step_id: str
    index: int
    ended_at: datetime


async def page(
    database: Database,
    workspace_id: int,
    *,
    name: str | None = None,
    cursor: str | None = None,
    items_max: int,
    data_bytes: int,
) -> Page[EventLine]:
    """Events, newest first; those of one name once they have taken effect.

    Raises `Invalid` for a cursor that is none of ours.
    """
    kind = EventPlace if name is None else NamedPlace
    place = (None, None) if cursor is None else decode_cursor(cursor, kind)
    arguments = (*place, items_max + 1, data_bytes, RUNS_COUNTED)
    if name is None:
        rows = await database.of(workspace_id).fetch("list_events", *arguments)
    else:
        rows = await database.of(workspace_id).fetch("list_events_of_name", *arguments, name)
    items = [
        EventLine(
            id=row["id"],
            name=row["name"],
            ts=row["ts"],
            accepted_at=row["accepted_at"],
            effective_at=row["effective_at"],
            data=Beginning(row["head"][:data_bytes], row["bytes_total"]),
            runs=row["runs"],
        )
        for row in rows[:items_max]
    ]
    if len(rows) <= items_max:
        return Page(items=items, next_cursor=None)
    last = rows[items_max - 1]
    end = (last["accepted_at"], last["id"]) if name is None else (last["effective_at"], last["position"])
    return Page(items=items, next_cursor=encode_cursor(end))


async def resumed_waits(database: Database, workspace_id: int, event_id: str, *, items_max: int) -> list[ResumedWait]:
    """The waits that the event ended, those of the newest runs first."""
    rows = await database.of(workspace_id).fetch("list_resumed_waits", event_id, items_max)
    return [ResumedWait(**row) for row in rows]
