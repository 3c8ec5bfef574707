"""Events as people read them, with the runs that they started. Nothing here changes anything."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rotor import limits
from rotor.protocol.json import Raw
from rotor.store import runs
from rotor.store.database import Database
from rotor.store.problems import NotFound
from rotor.store.runs import Run

__all__ = ["AcceptedEvent", "exists", "get"]


class AcceptedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event, and the newest of the runs that it started."""

    id: str
    name: str
    data: Raw
    ts: datetime
    """When it happened, by its sender or else by the server."""
    accepted_at: datetime
    effective_at: datetime | None
    """When it began to start runs and to wake waits; null: it is deferred until `ts`."""
    runs: list[Run]
    runs_next_cursor: str | None
    """Where `GET /v1/runs?event_id=` goes on, if there are more."""


async def get(database: Database, workspace_id: int, event_id: str) -> AcceptedEvent:
    """The event with this id. Raises `NotFound`."""
    # In this order: an event that has runs is never shown as one that is still deferred.
    started = await runs.page(database, workspace_id, event_id=event_id, items_max=limits.PAGE_ITEMS)
    row = await database.of(workspace_id).fetchrow("get_event", event_id)
    if row is None:
        raise NotFound(f"there is no event {event_id[:64]!r}")
    return AcceptedEvent(
        id=row["id"],
        name=row["name"],
        data=Raw(row["data"]),
        ts=row["ts"],
        accepted_at=row["accepted_at"],
        effective_at=row["effective_at"],
        runs=started.items,
        runs_next_cursor=started.next_cursor,
    )


async def exists(database: Database, workspace_id: int, event_id: str) -> bool:
    """Whether an event with this id was accepted."""
    return await database.of(workspace_id).fetchval("get_event", event_id) is not None
