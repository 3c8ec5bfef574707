"""A server and a worker in this process, on real sockets and a schema of their own, to be stopped and started again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from rotor import Rotor, connect
from rotor.sdk.functions import Function
from rotor.sdk.resources import Step
from rotor.server.server import Server, ServerConfig
from tests.crashes.bench import until
from tests.dev.processes import free_port

__all__ = ["at_rest", "reaches", "serving"]

WITHIN_SECONDS = 60


@asynccontextmanager
async def serving(
    dsn: str, schema: str, functions: Sequence[Function[Any, Any]] = (), **settings: Any
) -> AsyncIterator[Rotor]:
    """A client of a server on `schema`, with a worker for `functions` if there are any."""
    server = Server(ServerConfig(database_url=dsn, schema=schema, port=free_port(), dev=True, **settings))
    await server.start()
    try:
        async with Rotor(base_url=server.config.url) as rotor, working(server.config.url, functions):
            yield rotor
    finally:
        await server.stop()


@asynccontextmanager
async def working(url: str, functions: Sequence[Function[Any, Any]]) -> AsyncIterator[None]:
    """A worker that is connected, if there is anything to serve."""
    if not functions:
        yield
        return
    worker = connect(functions, url=url, name="operate", grace_seconds=2)
    connected = asyncio.Event()
    worker.on_connected = connected.set
    task = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            await connected.wait()
        yield
    finally:
        worker.stop()
        await task


async def reaches(rotor: Rotor, run_id: str, step_id: str, status: str = "waiting") -> Step:
    """The step, once it has a status."""
    async with asyncio.timeout(WITHIN_SECONDS):
        async for change in rotor.runs.stream(run_id):
            if isinstance(change, Step) and change.id == step_id and change.status == status:
                return change
    raise AssertionError(f"run {run_id} ended before its step {step_id} was {status}")


async def at_rest(rotor: Rotor) -> None:
    """Return when no run is in anybody's hands, nor about to be."""

    async def resting() -> bool:
        return not any([(await rotor.runs.list(status=status)).items for status in ("queued", "running")])

    await until(resting, within_seconds=WITHIN_SECONDS)
