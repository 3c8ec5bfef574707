"""A whole server on a thread of its own, whose clock the examples can move."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

import asyncpg

from rotor.server.server import Server, ServerConfig
from rotor.store.keys import CreatedKey, Keys
from rotor.store.migrate import migrate
from rotor.store.retention import Retention
from tests.dev.processes import free_port

__all__ = ["DocsServer"]

T = TypeVar("T")

CALL_SECONDS = 60
KEPT = timedelta(days=100 * 365)
"""Longer than any example moves the clock."""


class DocsServer:
    """As under `rotor dev`: no key is needed, and one that is given is honoured."""

    def __init__(self, dsn: str, schema: str) -> None:
        self.dsn = dsn
        self.schema = schema
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="docs server", daemon=True)
        self._thread.start()
        self._server = Server(
            ServerConfig(database_url=dsn, schema=schema, port=free_port(), dev=True, retention=Retention(KEPT, KEPT))
        )
        self.url = self._server.config.url
        self.run(self._start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, run on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(CALL_SECONDS)

    def create_key(self, workspace: str) -> CreatedKey:
        """A key of a workspace, which it makes."""
        return self.run(Keys(self._server.store.database).create(workspace=workspace))

    def now(self) -> datetime:
        """The clock of the database, as it has been moved."""
        now: datetime = self.run(self._server.store.database.fetchval("read_clock"))
        return now

    def advance(self, by: timedelta) -> None:
        """Move the clock forward, and wake whoever goes by it."""
        self.run(self._advance(by))

    def stop(self) -> None:
        self.run(self._server.stop())
        self.run(self._drop_schema())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _start(self) -> None:
        await migrate(self.dsn, schema=self.schema)
        await self._server.start()

    async def _drop_schema(self) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute("SET client_min_messages = warning")
            await connection.execute(f'DROP SCHEMA "{self.schema}" CASCADE')
        finally:
            await connection.close()

    async def _advance(self, by: timedelta) -> None:
        self._server.store.database.advance(by)
        for loop in self._server.loops:
            loop.wake.set()
