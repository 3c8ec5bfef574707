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
    own = database.of(workspace_id)
    # In this order: an event that has runs is never shown as one that is still deferred.
    started = await own.fetch(
        "list_runs_of_event", None, None, None, None, limits.PAGE_ITEMS + 1, runs.PAGE_BYTES, event_id, None
    )
    row = started[0] if started else await own.fetchrow("get_event", event_id)
    if row is None or row["event_name"] is None:
        raise NotFound(f"there is no event {event_id[:64]!r}")
    page = runs.page_of(started, limits.PAGE_ITEMS)
    return AcceptedEvent(
        id=row["event_id"],
        name=row["event_name"],
        data=Raw(row["event_data"]),
        ts=row["event_ts"],
        accepted_at=row["event_accepted_at"],
        effective_at=row["event_effective_at"],
        runs=page.items,
        runs_next_cursor=page.next_cursor,
    )


async def exists(database: Database, workspace_id: int, event_id: str) -> bool:
    """Whether an event with this id was accepted."""
    return await database.of(workspace_id).fetchval("get_event", event_id) is not None
