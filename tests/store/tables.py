"""What stands in the tables, read and changed by hand; row locks held by another connection; answers that are lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from rotor.store.database import Connection, Database, Record


async def select(database: Database, sql: str, *arguments: object) -> list[Record]:
    async with database.connection() as connection:
        return await connection.raw.fetch(sql, *arguments)


async def value(database: Database, sql: str, *arguments: object) -> Any:
    async with database.connection() as connection:
        return await connection.raw.fetchval(sql, *arguments)


async def change(database: Database, sql: str, *arguments: object) -> None:
    async with database.connection() as connection:
        await connection.raw.execute(sql, *arguments)


async def run_row(database: Database, run_id: str | UUID) -> Record:
    (row,) = await select(database, "SELECT * FROM runs WHERE id = $1", UUID(str(run_id)))
    return row


async def status_of(database: Database, run_id: str | UUID) -> str:
    return str((await run_row(database, run_id))["status"])


async def step_row(database: Database, run_id: str | UUID, step_id: str, index: int = 0) -> Record:
    (row,) = await select(
        database, "SELECT * FROM steps WHERE run_id = $1 AND id = $2 AND index = $3", UUID(str(run_id)), step_id, index
    )
    return row


async def step_status(database: Database, run_id: str | UUID, step_id: str) -> str:
    return str((await step_row(database, run_id, step_id))["status"])


async def waits_of(database: Database, run_id: str | UUID) -> list[str]:
    rows = await select(database, "SELECT step_id FROM waits WHERE run_id = $1 ORDER BY 1", UUID(str(run_id)))
    return [row["step_id"] for row in rows]


async def stop_clock(database: Database, moment: datetime | str) -> None:
    """It is `moment` from now on, for everybody on this schema, which is good for nothing else afterwards."""
    stopped = f"AS $$ SELECT timestamptz '{moment}' $$"
    await change(database, f"CREATE OR REPLACE FUNCTION rotor_now() RETURNS timestamptz LANGUAGE sql STABLE {stopped}")


def lose_answer(database: Database, monkeypatch: pytest.MonkeyPatch, of: str = "transaction") -> None:
    """The next transaction, or what is done `of` the next "connection", is committed, and the connection breaks before
    that is answered."""
    opened = getattr(database, of)

    @asynccontextmanager
    async def unanswered() -> AsyncIterator[Connection]:
        monkeypatch.setattr(database, of, opened)
        async with opened() as connection:
            yield connection
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    monkeypatch.setattr(database, of, unanswered)


@asynccontextmanager
async def locked(database: Database, sql: str, *arguments: object) -> AsyncIterator[asyncpg.Connection]:
    """The rows of `sql` (SELECT ... FOR UPDATE) are locked by another connection until the block ends."""
    connection = await asyncpg.connect(database.dsn, server_settings={"search_path": database.schema})
    try:
        async with connection.transaction():
            await connection.execute(sql, *arguments)
            yield connection
    finally:
        await connection.close()


async def until_blocked(connection: asyncpg.Connection, count: int = 1) -> list[int]:
    """Return the processes that wait for a lock of `connection`, or for one that does, once there are `count`."""
    while True:
        rows = await connection.fetch(
            """
            WITH RECURSIVE blocked AS (
                SELECT pid FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))
                UNION
                SELECT waiting.pid FROM pg_stat_activity AS waiting
                JOIN blocked ON blocked.pid = ANY (pg_blocking_pids(waiting.pid))
            )
            SELECT pid FROM blocked
            """
        )
        if len(rows) >= count:
            return [row["pid"] for row in rows]
        await connection.execute("SELECT pg_sleep(0.002)")
        await connection.execute("SELECT pg_stat_clear_snapshot()")
