"""A real Postgres for every test that wants one: one server a session, one schema a test."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from rotor.dev.postgres import Postgres
from rotor.store.database import Database
from rotor.store.migrate import migrate

numbers = count(1)


@pytest.fixture(scope="session")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the session's Postgres is: DATABASE_URL, or an embedded one that forgets all at its end.

    Nothing here tests what survives a crash of this server, so it may keep its writes in memory.
    """
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given
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
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SET client_min_messages = warning")
        await connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
    finally:
        await connection.close()


@pytest.fixture
async def database(dsn: str, clean_schema: str) -> AsyncIterator[Database]:
    """A pool on a fresh schema with every migration applied."""
    await migrate(dsn, schema=clean_schema)
    pool = await Database.connect(dsn, schema=clean_schema)
    yield pool
    await pool.close()


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """A folder for `rotor dev --data`, with a space in its path."""
    return tmp_path / "data folder"
