"""Connections that keep the server waiting are cut off, so that few clients cannot hold what many need.

uvicorn cuts off those that are idle between two requests. Here are the others: whose request's head does not come, or
is too long; who stops in the middle of a body; who does not read the answer. And an answer leaves in one piece where
it is ready in one: uvicorn writes its head, and then its body, and each writing wakes the client.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rotor import limits

__all__ = ["GuardedHttp"]

HEAD_SECONDS = 10.0
"""From the connection, or the request's first byte, to the end of its head."""
BODY_SILENCE_SECONDS = 20.0
BODY_SECONDS = 300.0
"""From the end of a request's head to the end of its body."""
UNREAD_SECONDS = 60.0
"""How long an answer may wait for its reader to take more of it."""
GATHERED_BYTES = 64 * 1024
"""How much of an answer is gathered before it is written."""

TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Gathering:
    """What an answer is written to: a transport to which it goes once it is complete, or else at the end of the event
    loop's turn.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []
        self._bytes = 0
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(data)
        self._bytes += len(data)
        if self._bytes >= GATHERED_BYTES:
            self.flush()

    def flush(self) -> None:
        pieces, self._pieces, self._bytes = self._pieces, [], 0
        if pieces and not self.is_closing():
            self._transport.write(b"".join(pieces))  # writelines of Python 3.12.0 never pauses its writer

    def close(self) -> None:
        self.flush()
        self._transport.close()


class GuardedHttp(HttpToolsProtocol):
    """One connection, with a time for each thing that its client has to do."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._header_bytes = 0
        self._in_body = False
        self._body_until = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._gathering = Gathering(transport, self.loop)
        self._expect_within(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_body:
            self._expect_within(min(BODY_SILENCE_SECONDS, self._body_until - self.loop.time()))
        elif self._awaits_head():
            self._head_bytes += len(data)
            if self._head_bytes > limits.HEAD_BYTES:
                self.transport.write(TOO_LONG)
                self.transport.close()
            elif self._timer is None:
                self._expect_within(HEAD_SECONDS)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value) + 4  # the colon, the space, the end of the line
        if self._header_bytes > limits.HEAD_BYTES:
            raise ValueError("a head that came at once is too long")
        super().on_header(name, value)

    def send_400_response(self, msg: str) -> None:
        if self._header_bytes <= limits.HEAD_BYTES:
            super().send_400_response(msg)
        else:
            self.transport.write(TOO_LONG)
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._head_bytes = self._header_bytes = 0
        self._in_body = True
        self._body_until = self.loop.time() + BODY_SECONDS
        super().on_headers_complete()
        if self.cycle is not None:  # it is no WebSocket's
            self.cycle.transport = self._gathering  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        self._in_body = False
        self._expect_nothing()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._gathering.flush()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def _awaits_head(self) -> bool:
        """Whether nothing is going on but that the next request's head is to come."""
        answered = self.cycle is None or self.cycle.response_complete
        # uvicorn takes a connection out as soon as it becomes a WebSocket, or ends.
        return answered and not self._in_body and self in self.connections and not self.transport.is_closing()

    def _expect_within(self, seconds: float) -> None:
        self._expect_nothing()
        self._timer = self.loop.call_later(seconds, self._cut_off)

    def _expect_nothing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut_off(self) -> None:
        self._timer = None
        if self.flow.read_paused:
            # The server itself takes no more of the body now.
            self._expect_within(BODY_SILENCE_SECONDS)
        else:
            self.transport.abort()
