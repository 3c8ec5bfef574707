"""Beyond what a server does at a time, a request is told at once when to come again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from rotor import limits
from rotor.server.config import ServerConfig
from rotor.server.overload import LAST_WALL, Bounded
from rotor.server.server import Server
from rotor.store.migrate import migrate
from tests.dev.processes import free_port


class Slow:
    """Answers once it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.begun = asyncio.Semaphore(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            self.begun.release()
            await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def serving(bounded: Bounded) -> AsyncIterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(bounded, port=port, lifespan="off", log_level="critical"))  # type: ignore[arg-type]
    bounded.connections = server.server_state.connections
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
        await asyncio.sleep(0.005)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = server.force_exit = True
    await task


async def test_a_request_too_many_is_told_when_to_come_again_and_the_others_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "REQUESTS", 2)
    slow = Slow()
    async with serving(Bounded(slow)) as url, aiohttp.ClientSession() as session:
        held = [asyncio.create_task(session.get(f"{url}/slow")) for _ in range(2)]
        for _ in held:
            await slow.begun.acquire()
        async with session.get(f"{url}/slow") as refused:
            told = await refused.json(content_type="application/problem+json")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert "REQUESTS" in told["detail"]
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await session.get(url + path)).status == 200
        slow.may_answer.set()
        assert [(await request).status for request in held] == [200, 200]
        assert (await session.get(f"{url}/slow")).status == 200


async def test_a_connection_too_many_is_told_when_to_come_again_and_makes_room(
    dsn: str, clean_schema: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS", 3)
    await migrate(dsn, schema=clean_schema)
    server = Server(ServerConfig(database_url=dsn, schema=clean_schema, port=free_port()))
    await server.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        held = [await asyncio.open_connection("127.0.0.1", server.config.port) for _ in range(3)]
        async with session.get(f"{server.config.url}/v1/runs") as refused:
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert refused.headers["connection"] == "close"
            assert "CONNECTIONS" in json.loads(await refused.read())["detail"]
        with pytest.raises(aiohttp.WSServerHandshakeError) as denied:
            await session.ws_connect(f"{server.config.url}/v1/connect")
        assert (denied.value.status, denied.value.headers["retry-after"]) == (503, "1")
        assert "handshake" not in caplog.text
        for _, writer in held:
            writer.close()
        async with asyncio.timeout(60):
            while (await session.get(f"{server.config.url}/v1/runs")).status == 503:
                pass  # until the server has seen that the connections are gone


def test_our_bounds_are_reached_before_the_last_wall() -> None:
    assert max(limits.CONNECTIONS, limits.REQUESTS) < LAST_WALL
