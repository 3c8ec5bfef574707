"""The frames of a WebSocket come and go without ASGI once somebody has taken them, and no promise of it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from rotor.server.connections import GuardedHttp
from rotor.server.sockets import DirectSocket
from rotor.services.sockets import FRAMES
from tests.dev.processes import free_port

MANY = b"x" * 10_000_000
GREETING = (
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


class App:
    """Accepts a WebSocket and listens to its frames, once it may."""

    def __init__(self) -> None:
        self.may_take = asyncio.Event()
        self.may_take.set()
        self.accepted = asyncio.Event()
        self.taken = asyncio.Event()
        self.ended = asyncio.Event()
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.writable_again = asyncio.Event()
        self.frames: DirectSocket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        self.frames = scope["extensions"][FRAMES]
        self.accepted.set()
        await self.may_take.wait()
        self.frames.take(self)
        self.taken.set()
        await self.ended.wait()

    def received(self, frame: bytes) -> None:
        self.heard.put_nowait(frame)

    def writable(self) -> None:
        self.writable_again.set()

    def lost(self) -> None:
        self.ended.set()


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
async def server(app: App) -> AsyncIterator[uvicorn.Server]:
    config = uvicorn.Config(
        app, port=free_port(), http=GuardedHttp, ws=DirectSocket, lifespan="off", log_level="critical"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
        await asyncio.sleep(0.005)
    yield server
    app.ended.set()
    server.should_exit = server.force_exit = True
    await task


@asynccontextmanager
async def connected(server: uvicorn.Server) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    url = f"http://127.0.0.1:{server.config.port}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
        yield socket


async def test_frames_come_and_go_in_order(app: App, server: uvicorn.Server) -> None:
    async with connected(server) as socket:
        await app.taken.wait()
        for n in range(100):
            await socket.send_str(f"{n}")
        await socket.send_bytes(b"binary")
        assert [await app.heard.get() for _ in range(101)] == [b"%d" % n for n in range(100)] + [b"binary"]

        for n in range(100):
            app.frames.send_frame(b"%d" % n)
        assert [await socket.receive_str() for _ in range(100)] == [f"{n}" for n in range(100)]


async def test_what_came_before_they_were_taken_comes_first(app: App, server: uvicorn.Server) -> None:
    app.may_take.clear()
    async with connected(server) as socket:
        for n in range(5):
            await socket.send_str(f"{n}")
        app.may_take.set()
        await app.taken.wait()
        await socket.send_str("5")

        assert [await app.heard.get() for _ in range(6)] == [b"%d" % n for n in range(6)]


async def test_whoever_holds_back_with_the_first_of_them_is_heard_once_it_goes_on(
    app: App, server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.may_take.clear()
    heard = app.heard.put_nowait
    monkeypatch.setattr(app, "received", lambda frame: (heard(frame), app.frames.pause()))
    async with connected(server) as socket:
        await socket.send_str("0")
        await app.accepted.wait()
        while app.frames.queue.empty():  # noqa: ASYNC110 - uvicorn has no event to wait for
            await asyncio.sleep(0.005)
        app.may_take.set()
        await app.taken.wait()
        assert not app.frames.transport.is_reading()

        await socket.send_str("1")
        app.frames.resume()
        assert [await app.heard.get() for _ in range(2)] == [b"0", b"1"]
        app.frames.resume()


@pytest.mark.parametrize(
    ("more", "status"),
    [
        pytest.param(b"content-length: 3\r\n\r\nabc", b"400", id="a body"),
        pytest.param(b"x: " + b"y" * 10_000 + b"\r\n\r\n", b"431", id="too long a header"),
        pytest.param(b"x: y\r\n" * 200 + b"\r\n", b"431", id="too many headers"),
    ],
)
async def test_a_request_that_no_websocket_begins_with_is_answered(
    server: uvicorn.Server, more: bytes, status: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.config.port)
    writer.write(GREETING + more)
    assert (await reader.read()).startswith(b"HTTP/1.1 " + status)
    writer.close()


async def test_a_long_frame_comes_whole(app: App, server: uvicorn.Server) -> None:
    async with connected(server) as socket:
        await app.taken.wait()
        await socket.send_bytes(MANY)
        assert await app.heard.get() == MANY


async def test_a_frame_in_fragments_comes_whole(app: App, server: uvicorn.Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.config.port)
    writer.write(GREETING + b"\r\n")
    await reader.readuntil(b"\r\n\r\n")
    await app.taken.wait()
    mask = b"\0\0\0\0"
    writer.write(b"\x01\x83" + mask + b"one" + b"\x00\x82" + mask + b", " + b"\x80\x83" + mask + b"two")

    assert await app.heard.get() == b"one, two"
    writer.close()


async def test_while_it_is_paused_nothing_is_read(app: App, server: uvicorn.Server) -> None:
    async with connected(server) as socket:
        await app.taken.wait()
        frames = app.frames
        frames.pause()
        await socket.send_str("held back")
        async with connected(server) as other:
            await other.send_str("sent later")
            assert await app.heard.get() == b"sent later"

            frames.resume()
            assert await app.heard.get() == b"held back"


async def test_whoever_sends_is_told_when_the_other_side_reads_again(app: App, server: uvicorn.Server) -> None:
    async with connected(server) as socket:
        await app.taken.wait()
        assert app.frames.is_writable()
        app.frames.send_frame(MANY)  # more than the buffers on the way hold
        assert not app.frames.is_writable()

        assert await socket.receive_str() == MANY.decode()
        await app.writable_again.wait()
        assert app.frames.is_writable()


async def test_pongs_do_not_pile_up_for_who_does_not_read(app: App, server: uvicorn.Server) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.config.port, limit=1)
    writer.write(GREETING + b"\r\n")
    await app.taken.wait()
    app.frames.send_frame(MANY)
    waiting = app.frames.transport.get_write_buffer_size()
    ping, text = b"\x89\xfd\0\0\0\0" + b"?" * 125, b"\x81\x81\0\0\0\0x"
    writer.write(ping * 100 + text)

    assert await app.heard.get() == b"x"
    assert app.frames.transport.get_write_buffer_size() <= waiting
    writer.transport.abort()


async def test_a_connection_that_the_other_side_closes_is_lost(app: App, server: uvicorn.Server) -> None:
    async with connected(server) as socket:
        await app.taken.wait()
        await socket.close()

    await app.ended.wait()
    app.frames.send_frame(b"to nobody")


async def test_a_connection_that_breaks_is_lost(app: App, server: uvicorn.Server) -> None:
    async with connected(server) as socket:
        await app.taken.wait()
        transport = socket._response.connection.transport  # type: ignore[union-attr]
        assert transport is not None
        transport.abort()
        await app.ended.wait()
        app.frames.send_frame(b"to nobody")


async def test_an_aborted_connection_is_lost_whatever_is_still_to_be_sent(app: App, server: uvicorn.Server) -> None:
    async with connected(server):
        await app.taken.wait()
        app.frames.send_frame(MANY)
        app.frames.abort()
        await app.ended.wait()


async def test_connections_are_lost_as_soon_as_the_server_stops(app: App, server: uvicorn.Server) -> None:
    async with connected(server):
        await app.taken.wait()
        app.frames.send_frame(MANY)  # nobody reads it
        server.should_exit = True
        await app.ended.wait()


async def test_a_server_stops_though_somebody_has_said_goodbye_who_does_not_read(
    app: App, server: uvicorn.Server
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.config.port, limit=1)
    writer.write(GREETING + b"\r\n")
    await app.taken.wait()
    app.frames.send_frame(MANY)
    writer.write(b"\x88\x82\0\0\0\0\x03\xe8")
    while not app.frames.transport.is_closing():  # noqa: ASYNC110 - uvicorn has no event to wait for
        await asyncio.sleep(0.005)
    server.force_exit = True
    await server.shutdown()
    writer.transport.abort()
