"""The connections of a database: how they are taken and given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from rotor.store import database as store_database
from rotor.store.database import AT_HAND, Database


@pytest.fixture
async def narrow(database: Database) -> AsyncIterator[Database]:
    """The same database with two connections at most."""
    pool = await Database.connect(database.dsn, schema=database.schema, connections_max=2)
    yield pool
    await pool.close()


async def backend(database: Database) -> int:
    async with database.connection() as connection:
        number: int = await connection.raw.fetchval("SELECT pg_backend_pid()")
        return number


async def test_the_connection_that_was_used_last_is_used_again(narrow: Database) -> None:
    assert len({await backend(narrow) for _ in range(5)}) == 1


async def test_a_connection_that_ended_while_nobody_used_it_is_not_given_out(narrow: Database) -> None:
    ended = asyncio.Event()
    async with narrow.connection() as one:
        one.raw.add_termination_listener(lambda _: ended.set())
        gone = await one.raw.fetchval("SELECT pg_backend_pid()")
    elsewhere = await asyncpg.connect(narrow.dsn)
    await elsewhere.execute("SELECT pg_terminate_backend($1)", gone)
    await elsewhere.close()
    async with asyncio.timeout(60):
        await ended.wait()
    async with narrow.connection() as one, narrow.connection() as other:
        assert gone not in {await each.raw.fetchval("SELECT pg_backend_pid()") for each in (one, other)}


async def test_a_connection_that_nobody_used_for_long_is_not_trusted(
    narrow: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await backend(narrow)
    monkeypatch.setattr(store_database, "KEPT_SECONDS", 0)
    assert await backend(narrow) != before
    async with asyncio.timeout(60), narrow.connection() as one, narrow.connection() as other:
        assert before not in {await each.raw.fetchval("SELECT pg_backend_pid()") for each in (one, other)}


async def test_whoever_waits_for_a_connection_gets_the_next_that_is_given_back(narrow: Database) -> None:
    async with asyncio.timeout(60):
        assert len(await asyncio.gather(*(backend(narrow) for _ in range(50)))) == 50


async def test_a_statement_that_is_cut_off_leaves_a_connection_that_can_be_used(narrow: Database) -> None:
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), narrow.connection() as connection:
                await connection.raw.execute("SELECT pg_sleep(30)")
    async with asyncio.timeout(60), narrow.connection() as one, narrow.connection() as other:
        assert await one.raw.fetchval("SELECT 1") + await other.raw.fetchval("SELECT 2") == 3


async def test_no_more_connections_are_kept_at_hand_than_are_used_all_the_time(database: Database) -> None:
    pool = await Database.connect(database.dsn, schema=database.schema, connections_max=AT_HAND + 2)
    all_in_use = asyncio.Barrier(AT_HAND + 2)

    async def use() -> None:
        async with pool.connection():
            await all_in_use.wait()

    try:
        async with asyncio.timeout(60):
            await asyncio.gather(*(use() for _ in range(AT_HAND + 2)))
        assert pool.pool.get_idle_size() == 2
    finally:
        await pool.close()


async def test_closing_waits_for_what_is_being_used(database: Database) -> None:
    pool = await Database.connect(database.dsn, schema=database.schema, connections_max=2)
    async with pool.connection() as connection:
        closing = asyncio.create_task(pool.close())
        await asyncio.sleep(0)
        assert await connection.raw.fetchval("SELECT 1") == 1
    async with asyncio.timeout(60):
        await closing
