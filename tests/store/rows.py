"""Rows of runs, steps and events written by hand, for tests of what is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from rotor.store.database import Database

BEGINNING = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def put(database: Database, table: str, **columns: Any) -> None:
    names = ", ".join(columns)
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    async with database.connection() as connection:
        await connection.raw.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", *columns.values())


async def put_event(database: Database, event_id: str, *, data: bytes = b"{}", workspace_id: int = 1) -> None:
    await put(
        database,
        "events",
        workspace_id=workspace_id,
        id=event_id,
        name="user.created",
        data=data,
        ts=BEGINNING,
        accepted_at=BEGINNING,
        effective_at=BEGINNING,
        position=1,
    )


async def put_run(database: Database, *, minute: int = 0, status: str = "queued", **columns: Any) -> UUID:
    """A run created `minute` minutes after the beginning, with what its status needs."""
    run_id: UUID = columns.pop("id", uuid4())
    given = {
        "workspace_id": 1,
        "function_id": "welcome",
        "event_id": "e1",
        "changed_group": 1,
        "created_at": BEGINNING + timedelta(minutes=minute),
        "due_at": BEGINNING if status == "queued" else None,
        "lease_id": uuid4() if status == "running" else None,
        "ended_at": BEGINNING if status in ("completed", "failed", "cancelled") else None,
        "error": b'{"name":"ValueError","message":"no"}' if status == "failed" else None,
    }
    await put(database, "runs", id=run_id, status=status, **{**given, **columns})
    return run_id


async def put_step(
    database: Database, run_id: UUID, step_id: str, *, index: int = 0, group: int = 1, second: int = 0, **columns: Any
) -> None:
    """A completed step that began `second` seconds after the beginning."""
    started_at = BEGINNING + timedelta(seconds=second)
    given = {
        "op": "run",
        "status": "completed",
        "attempts": 1,
        "started_at": started_at,
        "ended_at": started_at,
        "settled_group": group,
        "position": 0,
    }
    await put(database, "steps", run_id=run_id, id=step_id, index=index, **{**given, **columns})
