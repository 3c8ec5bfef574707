"""The worker's end of a WebSocket: texts both ways, with no task or queue between the socket and the worker.

Each text is handed on in the turn of the event loop in which it came, and each is on its way when `send` returns: the
waking of readers and writers in between took a sixth of what a worker does for a step that is alone.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from aiohappyeyeballs import start_connection
from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSProtocolError, WSTransport, ws_connect
from picows.url import WSParsedURL

__all__ = ["Closed", "WebSocket", "open_websocket"]

log = logging.getLogger("rotor.websocket")
log.setLevel(logging.WARNING)  # that it opens and ends is told by the worker

PING_SECONDS = 15.0
"""After such a silence the peer is asked for a sign of life, so that a connection that died silently is noticed."""
HANDSHAKE_SECONDS = 10.0
"""How long a server may take to answer: a frozen one's port takes connections all the same."""
NEXT_ADDRESS_SECONDS = 0.25
"""After so long the next address of a host is tried, too (RFC 8305): the first may be one that swallows everything."""
CLOSE_SECONDS = 2.0
"""How long a peer may take to read what was sent last."""


class Closed(Exception):  # noqa: N818 - how a connection ends, and mostly no error
    """The connection has ended. `code` and `reason` are the peer's; without a code it broke, for our own `reason` if
    there is one."""

    def __init__(self, code: int | None = None, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        if self.code is not None:
            return f"the server closed the connection ({self.code}{self.reason and ': '}{self.reason})"
        return f"the connection broke: {self.reason}" if self.reason else "the connection broke"


class WebSocket(WSListener):
    """A connection. Made by `open_websocket`.

    It reads nothing while nobody listens, so that what is not taken waits in the peer's own buffers.
    """

    def __init__(self, *, message_bytes_max: int) -> None:
        super().__init__()
        self.is_writable = True
        """False while the peer is slow: what has been sent waits in this process."""
        self.on_writable: Callable[[], None] | None = None
        self._transport: WSTransport
        self._message_bytes_max = message_bytes_max
        self._come: deque[bytes | Closed] = deque()
        """What came in one piece with what was listened to, and how it ended."""
        self._parts: list[bytes] | None = None
        """Of a message that comes in several frames; None: there is none."""
        self._is_text = True
        self._take: Callable[[bytes], None] | None = None
        self._listening: asyncio.Future[None] | None = None
        self._end: Exception | None = None

    def send(self, text: bytes) -> None:
        """Send UTF-8 `text`, unless the connection has ended."""
        if not (self._transport.is_close_frame_sent or self._transport.is_disconnected):
            self._transport.send(WSMsgType.TEXT, text)

    async def receive(self) -> bytes:
        """The next text. Raises `Closed`."""
        taken: list[bytes] = []

        def take(text: bytes) -> None:
            taken.append(text)
            self.stop()

        await self.listen(take)
        return taken[0]

    async def listen(self, take: Callable[[bytes], None]) -> None:
        """Hand each text to `take` as it comes, until it calls `stop`. Raises `Closed`, and what `take` raises."""
        if self._end is not None:
            raise self._end
        self._take = take
        self._listening = asyncio.get_running_loop().create_future()
        if not self._transport.underlying_transport.is_closing():
            self._transport.underlying_transport.resume_reading()
        while self._come and self._take is not None:
            self._hand_on(self._come.popleft(), self._take)
        try:
            await self._listening
        finally:
            self._take = None

    def stop(self, error: Exception | None = None) -> None:
        """Have `listen` return; with an `error`, raise it."""
        self._take = None
        self._end = self._end or error
        if not self._transport.underlying_transport.is_closing():
            self._transport.underlying_transport.pause_reading()
        if self._listening is not None and not self._listening.done():
            if error is None:
                self._listening.set_result(None)
            else:
                self._listening.set_exception(error)

    async def close(self) -> None:
        """Say that this was all, and wait until the peer has read it and closes, too: what it has not read is lost."""
        self._say_goodbye()
        if not self._transport.underlying_transport.is_closing():
            self._transport.underlying_transport.resume_reading()
        try:
            with suppress(TimeoutError, WSError):  # the latter has ended it, and is told where it was raised
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._transport.wait_disconnected()
        finally:
            self._transport.disconnect(graceful=False)

    # --- what picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        transport.underlying_transport.pause_reading()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind is WSMsgType.TEXT and frame.fin and self._parts is None:
            self._came(frame.get_payload_as_bytes())
        elif kind in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            self._receive_part(frame)
        elif kind is WSMsgType.CLOSE:
            code = int.from_bytes(frame.get_payload_as_bytes()[:2]) or None
            self._came(Closed(code, frame.get_close_reason() or ""))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        last_words = transport.close_handshake.sent if transport.close_handshake else None
        self._came(Closed(reason=last_words.reason if last_words else ""))

    def pause_writing(self) -> None:
        self.is_writable = False

    def resume_writing(self) -> None:
        self.is_writable = True
        if self.on_writable is not None:
            self.on_writable()

    # --- within

    def _say_goodbye(self) -> None:
        if not (self._transport.is_close_frame_sent or self._transport.is_disconnected):
            self._transport.send_close(WSCloseCode.OK)

    def _receive_part(self, frame: WSFrame) -> None:
        """A part of a message. Only texts are handed on."""
        if (frame.msg_type is WSMsgType.CONTINUATION) == (self._parts is None):
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "a message that does not end, or that did not begin")
        if self._parts is None:
            self._parts, self._is_text = [], frame.msg_type is WSMsgType.TEXT
        self._parts.append(frame.get_payload_as_bytes())
        if sum(map(len, self._parts)) > self._message_bytes_max:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, "too long a message")
        if frame.fin:
            message, self._parts = b"".join(self._parts), None
            if self._is_text:
                self._came(message)

    def _came(self, what: bytes | Closed) -> None:
        if self._take is None or self._come:
            self._come.append(what)
        else:
            self._hand_on(what, self._take)

    def _hand_on(self, what: bytes | Closed, take: Callable[[bytes], None]) -> None:
        if isinstance(what, Closed):
            self._say_goodbye()
            self.stop(what)
            return
        try:
            take(what)
        except Exception as error:  # is for whoever listens
            self.stop(error)


@asynccontextmanager
async def open_websocket(url: str, *, headers: dict[str, str], message_bytes_max: int) -> AsyncIterator[WebSocket]:
    """A WebSocket at `url`. Raises `picows.WSError`, and `OSError`. No redirect is followed."""
    _, connection = await ws_connect(
        lambda: WebSocket(message_bytes_max=message_bytes_max),
        url,
        extra_headers=headers,
        max_redirects=0,
        max_frame_size=message_bytes_max,
        enable_auto_ping=True,
        auto_ping_idle_timeout=PING_SECONDS,
        auto_ping_reply_timeout=PING_SECONDS / 2,
        websocket_handshake_timeout=HANDSHAKE_SECONDS,
        logger_name=log,
        socket_factory=_connected,
        use_aiofastnet=False,  # the event loop's own sockets are as fast for frames as small as these
    )
    if not isinstance(connection, WebSocket):
        raise ConnectionResetError("the connection ended before it was a WebSocket")
    try:
        yield connection
    finally:
        await connection.close()


async def _connected(url: WSParsedURL) -> socket.socket:
    """A connection to whichever address of the host takes it first. Raises `OSError`."""
    addresses = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    return await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS)
