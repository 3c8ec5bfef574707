"""A real Postgres for every test that wants one: one server a session, one empty schema a test."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from rotor.dev.postgres import Postgres
from rotor.store.database import Database
from rotor.store.migrate import migrate
from tests import campaign

# How long an example takes depends on what else the machine does.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=False)
# The same examples each time; `--hypothesis-profile=explore` draws others.
settings.register_profile("steady", settings.get_profile("explore"), derandomize=True)
settings.load_profile("steady")

numbers = count(1)
spare: list[str] = []
"""Schemas of earlier tests that are empty again: to make one takes longer than most tests."""

EMPTY = """
DO $$
DECLARE name text;
BEGIN
    DELETE FROM functions;
    DELETE FROM api_keys;
    DELETE FROM audit_log;
    DELETE FROM signing_keys;
    DELETE FROM workspaces WHERE id > 1;
    FOR name IN SELECT tablename FROM pg_tables
                WHERE schemaname = current_schema() AND tablename NOT IN ('migrations', 'workspaces') LOOP
        EXECUTE format('DELETE FROM %I', name);
    END LOOP;
    FOR name IN SELECT sequencename FROM pg_sequences WHERE schemaname = current_schema() LOOP
        EXECUTE format('ALTER SEQUENCE %I RESTART', name);
    END LOOP;
    ALTER SEQUENCE workspaces_id_seq RESTART WITH 2;
END $$
"""


@pytest.fixture(scope="session")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the session's Postgres is: DATABASE_URL, or an embedded one that forgets all at its end.

    Nothing here tests what survives a crash of this server, so it may keep its writes in memory.
    """
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given
        asyncio.run(drop(given, spare))
        return
    volatile = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}
    postgres = Postgres(tmp_path_factory.mktemp("postgres"), settings=volatile)
    postgres.start()
    try:
        yield postgres.dsn
    finally:
        postgres.stop()


@pytest.fixture
async def clean_schema(dsn: str) -> AsyncIterator[str]:
    """The name of a schema that does not exist yet, and is dropped after the test."""
    name = f"test_{os.getpid()}_{next(numbers)}"
    yield name
    await drop(dsn, [name])


@pytest.fixture
async def fresh_database(dsn: str, clean_schema: str) -> AsyncIterator[Database]:
    """A schema that no test has used before: to the planner, tables that were emptied are still large."""
    await migrate(dsn, schema=clean_schema)
    pool = await Database.connect(dsn, schema=clean_schema)
    yield pool
    await pool.close()


async def drop(dsn: str, schemas: Iterable[str]) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SET client_min_messages = warning")
        for name in schemas:
            await connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
    finally:
        await connection.close()


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """A pool on an empty schema with every migration applied: a fresh one, or that of an earlier test, emptied."""
    if spare:
        name = spare.pop()
    else:
        name = f"test_{os.getpid()}_{next(numbers)}"
        await migrate(dsn, schema=name)
    pool = await Database.connect(dsn, schema=name)
    async with pool.connection() as connection:
        made_of = await shape(connection.raw)
    yield pool
    await pool.close()
    if await emptied(dsn, name, made_of):
        spare.append(name)
    else:
        await drop(dsn, [name])


async def emptied(dsn: str, schema: str, made_of: object) -> bool:
    """Empty a schema for the next test, unless a test has changed what it is made of."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": schema})
    try:
        if await shape(connection) != made_of:
            return False
        await connection.execute(EMPTY)
    finally:
        await connection.close()
    return True


async def shape(connection: Any) -> object:
    """Differs for a schema whose tables, functions or migrations a test has changed."""
    try:
        return await connection.fetchrow(
            """
            SELECT (SELECT applied FROM migrations),
                   (SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace),
                   (SELECT count(*) FROM pg_proc WHERE pronamespace = current_schema()::regnamespace)
            """
        )
    except asyncpg.PostgresError:
        return None


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """A folder for `rotor dev --data`, with a space in its path."""
    return tmp_path / "data folder"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the fault campaigns did."""
    if campaign.totals:
        terminalreporter.section("fault campaigns")
        for line in campaign.numbers():
            terminalreporter.write_line(line)
