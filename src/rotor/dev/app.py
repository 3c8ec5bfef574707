"""`rotor dev`: Postgres, server and worker as one process tree, which ends as a whole.

The server runs in this process; Postgres and the app's worker are children that die with it (`keeper.py`). They are
started in this order and stopped in the reverse, so that the worker can still give its runs back.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from rotor.dev.app_worker import AppWorker
from rotor.dev.postgres import Postgres
from rotor.dev.serve_apps import ServeApps
from rotor.errors import ConfigError
from rotor.sdk.client import Rotor
from rotor.server.server import Server, ServerConfig
from rotor.store.migrate import migrate

__all__ = ["DevConfig", "run"]

HOST = "127.0.0.1"

Say: TypeAlias = Callable[[str], None]
"""Prints a message to the user."""


@dataclass(frozen=True, kw_only=True)
class DevConfig:
    """What `rotor dev` was asked for."""

    app: str | None = None
    port: int = 8484
    data: Path = Path(".rotor")
    reload: bool = True
    serve_urls: tuple[str, ...] = ()
    database_url: str | None = None
    """A Postgres to use instead of the embedded one."""
    schema: str = "rotor"
    """Where the tables are in it."""

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


async def run(config: DevConfig, say: Say) -> None:
    """Run everything until Ctrl-C, SIGTERM or SIGHUP; a second one ends at once.

    Raises `ConfigError` for a port or data folder in use, where Postgres does not start, and, without reload, for an
    app that does not load.
    """
    _check_port(config.port)
    stopping = _stop_signals()
    async with AsyncExitStack() as stack:
        postgres = None if config.database_url else await stack.enter_async_context(_embedded_postgres(config.data))
        dsn = postgres.dsn if postgres else config.database_url
        assert dsn is not None
        await migrate(dsn, schema=config.schema)
        server = Server(ServerConfig(database_url=dsn, schema=config.schema, host=HOST, port=config.port, dev=True))
        await server.start()
        stack.push_async_callback(server.stop)
        try:
            await _serve(config, postgres, stopping, say)
        except ExceptionGroup as group:
            # Not `except*`: early releases of Python 3.11 wrap what it raises once more.
            ours = group.subgroup(ConfigError)
            if ours is None:
                raise
            raise ours.exceptions[0] from None


async def _serve(config: DevConfig, postgres: Postgres | None, stopping: asyncio.Event, say: Say) -> None:
    """Keep running what serves functions and what the server needs, until it is time to stop."""
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        tasks = [group.create_task(_keep_alive(postgres, say), name="rotor-dev-postgres")] if postgres else []
        if config.app is not None:
            worker = AppWorker(config.app, config.url, say, reload=config.reload)
            tasks.append(group.create_task(worker.run(), name="rotor-dev-worker"))
            await _first(worker.settled, stopping)
        if config.serve_urls:
            client = await stack.enter_async_context(Rotor(base_url=config.url))
            apps = ServeApps(config.serve_urls, client, say)
            await apps.tick()
            tasks.append(group.create_task(apps.run(), name="rotor-dev-serve-apps"))
        if config.app is None and not config.serve_urls:
            say("No app is served yet: `rotor dev app.py` serves the functions of a file.")
        say(f"Ready on {config.url} (dashboard: {config.url}/dashboard). Ctrl-C stops.")
        await stopping.wait()
        say("Stopping.")
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def _embedded_postgres(folder: Path) -> AsyncIterator[Postgres]:
    postgres = Postgres(folder)
    try:
        await asyncio.to_thread(postgres.start)
        yield postgres
    finally:
        await asyncio.to_thread(postgres.stop)


async def _keep_alive(postgres: Postgres, say: Say) -> None:
    """Start Postgres again on its data where it ends by itself."""
    while True:
        assert postgres.process is not None
        code = await asyncio.to_thread(postgres.process.wait)
        say(f"Postgres ended with exit code {code}; it is started again on its data ({postgres.log} says more).")
        await asyncio.to_thread(postgres.stop)
        await asyncio.to_thread(postgres.start)


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of `events` is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _stop_signals() -> asyncio.Event:
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            # The children are ended by their keepers, as after any other sudden end.
            os._exit(130)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    return stopping


def _check_port(port: int) -> None:
    """Raise `ConfigError` before anything is started where the port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} of {HOST} cannot be used ({error.strerror}): "
                "stop what listens there, or choose another --port"
            ) from None
