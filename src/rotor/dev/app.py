"""`rotor dev`: Postgres, server and worker as one process tree, which ends as a whole.

The server runs in this process; Postgres and the app's worker are children that die with it (`keeper.py`). All begin at
once; the worker is stopped before the server, so that it can still give its runs back, and Postgres last.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rotor.dev.app_worker import AppWorker
from rotor.dev.local_server import HOST, LocalServer, Say, listen
from rotor.errors import ConfigError, ConnectionLostError

__all__ = ["DevConfig", "run"]


@dataclass(frozen=True, kw_only=True)
class DevConfig:
    """What `rotor dev` was asked for."""

    app: str | None = None
    port: int = 8484
    data: Path = Path(".rotor")
    slots: int = 100
    """How many runs its worker takes at once."""
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
    app that does not load; `ConnectionLostError` where Postgres does not answer.
    """
    stopping = _stop_signals()
    with listen(config.port) as listening:
        server = LocalServer(listening, folder=config.data, dsn=config.database_url, schema=config.schema, say=say)
        try:
            await _serve(config, server, stopping, say)
        except ExceptionGroup as group:
            # Not `except*`: early releases of Python 3.11 wrap what it raises once more.
            ours = group.subgroup((ConfigError, ConnectionLostError))
            if ours is None:
                raise
            raise ours.exceptions[0] from None
        finally:
            await server.stop()


async def _serve(config: DevConfig, server: LocalServer, stopping: asyncio.Event, say: Say) -> None:
    """Start the server and what serves functions, and keep both running until it is time to stop."""
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        tasks = []
        worker = (
            AppWorker(config.app, config.url, say, slots=config.slots, reload=config.reload) if config.app else None
        )
        if worker is not None:
            tasks.append(group.create_task(worker.run(), name="rotor-dev-worker"))
        await server.start()
        tasks.append(group.create_task(server.keep_postgres(), name="rotor-dev-postgres"))
        if worker is not None:
            await _first(worker.settled, stopping)
        if config.serve_urls:
            tasks.append(group.create_task(await _serve_apps(config, stack, say), name="rotor-dev-serve-apps"))
        if config.app is None and not config.serve_urls:
            say("No app is served yet: `rotor dev app.py` serves the functions of a file.")
        say(_ready(config, server))
        await stopping.wait()
        say("Stopping.")
        for task in tasks:
            task.cancel()


async def _serve_apps(config: DevConfig, stack: AsyncExitStack, say: Say) -> Coroutine[Any, Any, None]:
    """Register the serve apps; what keeps them registered."""
    from rotor.dev.serve_apps import ServeApps  # noqa: PLC0415  (aiohttp takes a while to import)
    from rotor.sdk.client import Rotor  # noqa: PLC0415

    client = await stack.enter_async_context(Rotor(base_url=config.url))
    apps = ServeApps(config.serve_urls, client, say)
    await apps.tick()
    return apps.run()


def _ready(config: DevConfig, server: LocalServer) -> str:
    database = "that of DATABASE_URL" if config.database_url else server.dsn
    return f"Ready on {config.url}. Ctrl-C stops.\n  Dashboard  {config.url}/dashboard\n  Database   {database}"


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
