"""A server that cannot start says why, and leaves nothing open."""

from __future__ import annotations

import asyncio

import pytest

from rotor.errors import ConnectionLostError
from rotor.server.config import ServerConfig
from rotor.server.server import Server
from rotor.store.database import Database
from tests.dev.processes import free_port
from tests.store.tables import locked, until_blocked


@pytest.mark.parametrize("table", ["migrations", "events"])
async def test_a_server_that_postgres_breaks_off_as_it_starts_says_what_to_look_at(
    database: Database, table: str
) -> None:
    config = ServerConfig(database_url=database.dsn, schema=database.schema, port=free_port())
    async with locked(database, f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE") as other:
        starting = asyncio.create_task(Server(config).start())
        (asking,) = await until_blocked(other)
        await other.execute("SELECT pg_terminate_backend($1)", asking)
        with pytest.raises(ConnectionLostError, match=r"does not answer .* is Postgres running"):
            await starting
