"""The server of `rotor dev` on its Postgres, started in the order that is ready soonest.

Most of a start is importing the server; Postgres, and the app's worker, begin meanwhile. The port is taken first: a
worker that is quicker than the server waits in its queue instead of being turned away.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from rotor.dev.postgres import Postgres
from rotor.errors import ConfigError

__all__ = ["HOST", "LocalServer", "Say", "listen"]

HOST = "127.0.0.1"
BACKLOG = 100

Say: TypeAlias = Callable[[str], None]
"""Prints a message to the user."""


def listen(port: int) -> socket.socket:
    """A socket that takes connections on `port`. Raises `ConfigError` where it cannot be used."""
    try:
        return socket.create_server((HOST, port), backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"port {port} of {HOST} cannot be used ({error.strerror}): "
            "stop what listens there, or choose another --port"
        ) from None


class LocalServer:
    """A server on `listening`, and below it an embedded Postgres in `folder` unless `dsn` names another."""

    def __init__(self, listening: socket.socket, *, folder: Path, dsn: str | None, schema: str, say: Say) -> None:
        self._listening = listening
        self._postgres = None if dsn else Postgres(folder)
        self._given_dsn = dsn
        self._schema = schema
        self._say = say
        self._server: Any = None
        self._starting: asyncio.Task[None] | None = None

    @property
    def dsn(self) -> str:
        """The address of its database."""
        return self._postgres.dsn if self._postgres else self._given_dsn or ""

    async def start(self) -> None:
        """Return once requests are answered.

        Raises `ConfigError` where Postgres does not start, and `ConnectionLostError` where it does not answer.
        """
        self._starting = asyncio.create_task(self._start(), name="rotor-dev-start")
        # A thread that starts Postgres cannot be cancelled: `stop` waits for it.
        await asyncio.shield(self._starting)

    async def stop(self) -> None:
        """Stop the server, then Postgres."""
        if self._starting is not None:
            await asyncio.wait([self._starting])
        if self._server is not None:
            await self._server.stop()
        if self._postgres is not None:
            await asyncio.to_thread(self._postgres.stop)

    async def keep_postgres(self) -> None:
        """Start Postgres again on its data where it ends by itself, until cancelled."""
        while self._postgres is not None:
            assert self._postgres.process is not None
            code = await asyncio.to_thread(self._postgres.process.wait)
            self._say(
                f"Postgres ended with exit code {code}; it is started again on its data "
                f"({self._postgres.log} says more)."
            )
            await asyncio.to_thread(self._postgres.stop)
            await asyncio.to_thread(self._postgres.start)

    async def _start(self) -> None:
        imported = asyncio.create_task(asyncio.to_thread(import_module, "rotor.server.server"))
        if self._postgres is not None:
            if not self._postgres.data.exists():
                self._say(f"Making a database in {self._postgres.folder}, which takes a moment the first time.")
            await asyncio.to_thread(self._postgres.start)
        await imported
        from rotor.server.server import Server, ServerConfig  # noqa: PLC0415  (takes a while to import)
        from rotor.store.migrate import migrate  # noqa: PLC0415
        from rotor.store.readiness import reaching  # noqa: PLC0415

        with reaching(self.dsn):
            await migrate(self.dsn, schema=self._schema)
        port = self._listening.getsockname()[1]
        config = ServerConfig(database_url=self.dsn, schema=self._schema, host=HOST, port=port, dev=True)
        server = Server(config, listening=self._listening)
        await server.start()
        self._server = server
