"""Who keeps a connection waiting is cut off; who does what a client has to is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from rotor import limits
from rotor.server import connections
from rotor.server.connections import GuardedHttp
from tests.dev.processes import free_port

SOON = 0.1
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"
PIECE = b"x" * 1_000_000


class App:
    """Reads each request to its end, and answers with some pieces; notes how each request ended."""

    def __init__(self) -> None:
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.pieces = 1
        self.piece = PIECE
        self.goes_on = asyncio.Event()
        """Set: it does not wait between the pieces and the end."""
        self.goes_on.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self.echo(receive, send)
            return
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.request":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(self.pieces):
                await send({"type": "http.response.body", "body": self.piece, "more_body": True})
            await self.goes_on.wait()
            await send({"type": "http.response.body", "body": b""})
        self.ended.put_nowait(message["type"])

    async def echo(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})


@pytest.fixture
def app() -> App:
    return App()


@asynccontextmanager
async def serving(app: App, **options: Any) -> AsyncIterator[int]:
    port = free_port()
    config = uvicorn.Config(
        app, port=port, http=GuardedHttp, lifespan="off", log_level="critical", access_log=False, **options
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
        await asyncio.sleep(0.005)
    yield port
    server.should_exit = server.force_exit = True
    await task


@pytest.fixture
async def port(app: App) -> AsyncIterator[int]:
    async with serving(app) as port:
        yield port


async def told(port: int, *sent: bytes) -> bytes:
    """What is answered before the server closes the connection, on which nothing more is sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for text in sent:
            writer.write(text)
            await writer.drain()
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def closed(reader: asyncio.StreamReader) -> bool:
    """Whether the server closes the connection without another word."""
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET", b"GET / HTTP/1.1\r\n", GET[:-2]])
async def test_a_head_that_does_not_come_is_not_waited_for(
    port: int, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", SOON)
    assert await told(port, sent) == b""


async def test_the_second_request_of_a_connection_is_waited_for_no_longer(
    app: App, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.pieces = 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    assert (await reader.readuntil(b"0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    monkeypatch.setattr(connections, "HEAD_SECONDS", SOON)
    writer.write(b"GET / HTTP/1.1\r\n")
    assert await closed(reader)
    writer.close()


async def test_a_head_without_end_is_refused(port: int) -> None:
    answered = await told(port, b"GET / HTTP/1.1\r\n", b"x-long: " + b"x" * limits.HEAD_BYTES)
    assert answered.startswith(b"HTTP/1.1 431 ")


async def test_a_head_that_is_too_long_is_refused_though_it_comes_whole(app: App, port: int) -> None:
    headers = b"".join(b"x%d: %b\r\n" % (number, b"y" * 100) for number in range(limits.HEAD_BYTES // 100))
    answered = await told(port, GET[:-2] + headers + b"\r\n")
    # The answer may be lost where the connection is closed on what was not read.
    assert answered.startswith(b"HTTP/1.1 431 ") or answered == b""
    assert app.ended.empty()


@pytest.mark.parametrize("limit", ["BODY_SILENCE_SECONDS", "BODY_SECONDS"])
async def test_a_body_that_stops_ends_its_request(
    app: App, port: int, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(connections, limit, SOON)
    assert await told(port, POST + b"12345") == b""
    assert await app.ended.get() == "http.disconnect"


async def test_an_answer_that_nobody_reads_is_given_up(app: App, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_SECONDS", SOON)
    app.pieces = 64
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_000)
    writer.write(GET)
    assert await app.ended.get() == "http.request"
    received = 0
    try:
        while text := await reader.read(len(PIECE)):
            received += len(text)
    except ConnectionResetError:
        pass
    writer.close()
    assert received < 64 * len(PIECE)


class Recorder(asyncio.Transport):
    """A transport that nobody is at the other end of."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("request_text", [GET, b"GET / HTTP/1.0\r\nhost: x\r\n\r\n"])
async def test_an_answer_that_is_ready_leaves_at_once_and_in_one_piece(app: App, request_text: bytes) -> None:
    app.piece = b"{}"
    config = uvicorn.Config(app, http=GuardedHttp, lifespan="off", log_level="critical")
    config.load()
    protocol, transport = GuardedHttp(config, ServerState(), {}), Recorder()
    protocol.connection_made(transport)
    protocol.data_received(request_text)
    assert await app.ended.get() == "http.request"
    (answer,) = transport.written
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"{}\r\n0\r\n\r\n")
    assert transport.closed == (request_text is not GET)
    protocol.connection_lost(None)


async def test_the_beginning_of_an_answer_is_not_held_back(app: App, port: int) -> None:
    app.piece = b"first"
    app.goes_on.clear()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    assert (await reader.readuntil(b"first\r\n")).startswith(b"HTTP/1.1 200 ")
    app.goes_on.set()
    assert await reader.readuntil(b"0\r\n\r\n") == b"0\r\n\r\n"
    writer.close()


async def test_who_keeps_going_is_served_however_many_requests_come(app: App, port: int) -> None:
    app.pieces = 1
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        for byte in POST:
            writer.write(bytes([byte]))
        writer.write(b"1234567890")
        assert await app.ended.get() == "http.request"
        await reader.readexactly(len(PIECE))
    writer.close()


async def test_a_websocket_may_be_silent(app: App, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1)  # enough for its greeting
    monkeypatch.setattr(connections, "BODY_SILENCE_SECONDS", 1)
    async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{port}") as socket:
        assert await told(port, b"") == b""  # as long as this takes, the other one would be cut off, too
        await socket.send_str("still here")
        assert await socket.receive_str() == "still here"


async def test_beyond_the_limit_of_connections_a_request_is_answered_at_once(app: App) -> None:
    async with serving(app, limit_concurrency=2) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        answered = await told(port, GET)
        for _, writer in held:
            writer.close()
    assert answered.startswith(b"HTTP/1.1 503 ")
