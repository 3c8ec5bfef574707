"""The worker's end of a WebSocket takes what another implementation writes, and writes what that reads."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picows import WSError
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from rotor.sdk import websocket
from rotor.sdk.websocket import Closed, WebSocket, open_websocket

MESSAGE_BYTES_MAX = 70_000
LONG = b"x" * 66_000
MANY = 200
"""More of them than the buffers on the way hold."""
TEXTS = st.lists(
    st.text(max_size=40).map(str.encode) | st.integers(120, 66_000).map(lambda size: b"x" * size), max_size=6
)


class Peer:
    """The server's side of one connection, which may write what it likes."""

    def __init__(self) -> None:
        self._protocol = ServerProtocol(max_size=None)
        self._connected = asyncio.Event()
        self._news = asyncio.Event()
        self.heard: list[Frame] = []
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        while not self._has_heard_goodbye() and (data := await reader.read(65_536)):
            await self.may_read.wait()
            self._protocol.receive_data(data)
            for event in self._protocol.events_received():
                if isinstance(event, Request):
                    self._protocol.send_response(self._protocol.accept(event))
                    writer.write(b"".join(self._protocol.data_to_send()))
                    self._protocol.state = State.OPEN
                elif isinstance(event, Frame):
                    self.heard.append(event)
                    self._news.set()
        self.ended.set()
        writer.close()

    def _has_heard_goodbye(self) -> bool:
        return bool(self.heard) and self.heard[-1].opcode is Opcode.CLOSE

    async def hears(self, count: int) -> list[Frame]:
        """The first `count` frames, once they are there."""
        while len(self.heard) < count:
            self._news.clear()
            await self._news.wait()
        return self.heard[:count]


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Peer, WebSocket]]:
    peer = Peer()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        open_websocket(f"ws://127.0.0.1:{port}/", headers={}, message_bytes_max=MESSAGE_BYTES_MAX) as socket,
    ):
        yield peer, socket


def say_more_than_is_read(peer: Peer, socket: WebSocket) -> None:
    peer.may_read.clear()
    for _ in range(MANY):
        socket.send(LONG)


def said(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return Frame(Opcode(opcode), payload, fin).serialize(mask=False)


def in_parts(text: bytes, parts: Sequence[int]) -> bytes:
    """`text` in frames that end at `parts`, with a ping after each but the last."""
    ends = sorted({min(end, len(text)) for end in parts} - {len(text)})
    pieces = [text[begin:end] for begin, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    frames = [
        said(Opcode.CONT if number else Opcode.TEXT, piece, fin=number == len(pieces) - 1)
        for number, piece in enumerate(pieces)
    ]
    return said(Opcode.PING, b"there?").join(frames)


@settings(max_examples=30)
@given(texts=TEXTS, parts=st.lists(st.integers(0, 66_000), max_size=3), cut=st.integers(1, 5_000))
def test_texts_come_whole_and_in_order_in_whatever_pieces_they_travel(
    texts: list[bytes], parts: list[int], cut: int
) -> None:
    async def scene() -> None:
        async with opened() as (peer, socket):
            heard: list[bytes] = []
            listener = asyncio.create_task(socket.listen(heard.append))
            pieces = [in_parts(text, parts) + said(Opcode.BINARY, b"\x00") for text in texts]
            stream = b"".join(pieces) + said(Opcode.CLOSE, b"\x03\xe8")
            for at in range(0, len(stream), cut):
                peer.writer.write(stream[at : at + cut])
                await peer.writer.drain()
            with pytest.raises(Closed):
                await listener
            assert heard == texts
            await peer.ended.wait()
            *pongs, goodbye = peer.heard
            assert all(frame.opcode is Opcode.PONG and frame.data == b"there?" for frame in pongs)
            assert len(pongs) == sum(piece.count(b"there?") for piece in pieces)
            assert goodbye.opcode is Opcode.CLOSE

    asyncio.run(scene())


@settings(max_examples=30)
@given(
    stream=st.binary() | st.lists(st.sampled_from([0, 1, 2, 8, 9, 10, 125, 126, 127, 128, 129, 136, 255])).map(bytes)
)
def test_whatever_comes_the_connection_ends_as_one_that_was_closed(stream: bytes) -> None:
    async def scene() -> None:
        async with opened() as (peer, socket):
            listener = asyncio.create_task(socket.listen(lambda _: None))
            peer.writer.write(stream)
            peer.writer.write_eof()
            with pytest.raises(Closed):
                await listener

    asyncio.run(scene())


HEADERS = st.sampled_from(
    [
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-accept: x",
        "location: /",
        "content-length: 9",
        ":",
        "\xff",
    ]
)
ANSWERS = st.tuples(
    st.sampled_from(
        ["HTTP/1.1 101 Switching Protocols", "HTTP/1.1 503 Busy", "HTTP/1.1 302 Found", "HTTP/1.1 one", "ok"]
    ),
    st.lists(HEADERS).map("\r\n".join),
    st.sampled_from(["\r\n\r\n", "\r\n", ""]),
).map("\r\n".join)


@settings(max_examples=60)
@given(answer=st.binary() | ANSWERS.map(str.encode))
def test_whatever_answers_the_greeting_but_a_websocket_is_refused(answer: bytes) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async def scene() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            with pytest.raises((OSError, WSError)):
                async with open_websocket(url, headers={}, message_bytes_max=MESSAGE_BYTES_MAX):
                    pass

    asyncio.run(scene())


async def test_a_host_is_reached_by_its_second_address_where_the_first_swallows_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as deaf, socket.socket() as waiting:
        deaf.bind(("127.0.0.2", 0))  # neither address is used by others, so that the port is free at both
        deaf.listen(0)
        _, port = deaf.getsockname()
        waiting.connect(("127.0.0.2", port))  # for this one there is room, and for no other
        async with await asyncio.start_server(Peer().serve, "127.0.0.3", port):

            async def addresses(*_: object, **__: object) -> list[object]:
                return [
                    (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.2", "127.0.0.3")
                ]

            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", addresses)
            async with open_websocket(f"ws://rotor.test:{port}/", headers={}, message_bytes_max=MESSAGE_BYTES_MAX):
                pass


@settings(max_examples=30)
@given(texts=TEXTS)
def test_another_implementation_reads_what_is_sent(texts: list[bytes]) -> None:
    async def scene() -> None:
        async with opened() as (peer, socket):
            for text in texts:
                socket.send(text)
            assert [(frame.opcode, bytes(frame.data), frame.fin) for frame in await peer.hears(len(texts))] == [
                (Opcode.TEXT, text, True) for text in texts
            ]

    asyncio.run(scene())


async def test_what_comes_while_nobody_listens_waits_for_who_does() -> None:
    async with opened() as (peer, socket):
        peer.writer.write(said(Opcode.TEXT, b"one") + said(Opcode.TEXT, b"two") + said(Opcode.CLOSE, b"\x11\x30bye"))
        assert await socket.receive() == b"one"
        heard: list[bytes] = []
        with pytest.raises(Closed) as closed:
            await socket.listen(heard.append)
        assert heard == [b"two"]
        assert (closed.value.code, closed.value.reason) == (4400, "bye")
        assert [frame.opcode for frame in await peer.hears(1)] == [Opcode.CLOSE]


async def test_what_whoever_listens_raises_ends_the_listening() -> None:
    async with opened() as (peer, socket):

        def choke(_: bytes) -> None:
            raise LookupError("no such run")

        peer.writer.write(said(Opcode.TEXT, b"one") + said(Opcode.TEXT, b"two"))
        with pytest.raises(LookupError, match="no such run"):
            await socket.listen(choke)


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        pytest.param(b"\x83\x00", 1002, id="an unknown kind of frame"),
        pytest.param(b"\x8b\x00", 1002, id="an unknown kind of control frame"),
        pytest.param(said(Opcode.CONT, b"rest"), 1002, id="a part without a beginning"),
        pytest.param(said(Opcode.TEXT, b"a", fin=False) + said(Opcode.TEXT, b"b"), 1002, id="a beginning within"),
        pytest.param(b"\x09\x00", 1002, id="a ping in parts"),
        pytest.param(b"\x89\x7e\x00\x7e" + b"x" * 126, 1002, id="a ping that is too long"),
        pytest.param(said(Opcode.TEXT, b"x" * (MESSAGE_BYTES_MAX + 1))[:10], 1009, id="too long a text"),
        pytest.param(
            said(Opcode.TEXT, b"x" * 60_000, fin=False) + said(Opcode.CONT, b"x" * 60_000), 1009, id="too long in parts"
        ),
    ],
)
async def test_a_peer_that_breaks_the_rules_is_left(stream: bytes, code: int) -> None:
    noise: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    async with opened() as (peer, socket):
        heard: list[bytes] = []
        peer.writer.write(stream)
        with pytest.raises(Closed) as closed:
            await socket.listen(heard.append)
        assert closed.value.code is None
        assert closed.value.reason
        assert heard == []
        await peer.ended.wait()
        assert [(frame.opcode, bytes(frame.data[:2])) for frame in peer.heard] == [(Opcode.CLOSE, code.to_bytes(2))]
    del socket
    gc.collect()
    assert noise == []


async def test_a_connection_that_breaks_ends_whoever_listens_and_whoever_comes_later() -> None:
    async with opened() as (peer, socket):
        listener = asyncio.create_task(socket.listen(lambda _: None))
        peer.writer.transport.abort()
        for listening_now in (listener, socket.receive()):
            with pytest.raises(Closed):
                await listening_now
        socket.send(b"into the void")


async def test_after_its_goodbye_it_says_nothing() -> None:
    async with opened() as (peer, socket):
        socket.send(b"one")
        await socket.close()
        socket.send(b"one thing more")
        assert [frame.opcode for frame in peer.heard] == [Opcode.TEXT, Opcode.CLOSE]


async def test_a_slow_peer_reads_what_was_said_last_before_the_connection_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_SECONDS", 60)
    async with opened() as (peer, socket):
        say_more_than_is_read(peer, socket)
        assert not socket.is_writable
        closing = asyncio.create_task(socket.close())
        await asyncio.sleep(0)
        peer.may_read.set()
        await closing
        assert [len(frame.data) for frame in peer.heard] == [*[len(LONG)] * MANY, 2]


async def test_who_is_cancelled_while_it_waits_for_a_slow_peer_leaves_it_at_once() -> None:
    async with opened() as (peer, socket):
        say_more_than_is_read(peer, socket)
        closing = asyncio.create_task(socket.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({closing})
        peer.may_read.set()
        await peer.ended.wait()
        assert len(peer.heard) < MANY


async def test_a_peer_that_does_not_read_what_was_said_last_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_SECONDS", 0.01)
    async with opened() as (peer, socket):
        say_more_than_is_read(peer, socket)
        await socket.close()
        with pytest.raises(Closed):
            await socket.receive()
        peer.may_read.set()


async def test_a_server_that_does_not_answer_is_left_and_one_that_nobody_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket, "HANDSHAKE_SECONDS", 0.05)
    greeted, left = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        greeted.set()
        assert await reader.read() == b""
        writer.close()
        left.set()

    async def connect(url: str) -> None:
        async with open_websocket(url, headers={}, message_bytes_max=MESSAGE_BYTES_MAX):
            pass

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(TimeoutError):
            await connect(url)
        await left.wait()
        greeted.clear()
        left.clear()
        connecting = asyncio.create_task(connect(url))
        await greeted.wait()
        connecting.cancel()
        await left.wait()


async def test_a_peer_that_is_silent_is_asked_and_then_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "PING_SECONDS", 0.01)
    async with opened() as (peer, socket):
        with pytest.raises(Closed, match=r"the connection broke: peer has not replied to ping"):
            await socket.listen(lambda _: None)
        assert (await peer.hears(1))[0].opcode is Opcode.PING
