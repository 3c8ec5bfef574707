"""The WebSockets of the server: uvicorn's, whose frames can be had without ASGI (`rotor.services.sockets`)."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

from rotor.services.sockets import FRAMES, Listener

__all__ = ["DirectSocket"]

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class DirectSocket(WebSocketsSansIOProtocol):
    """One WebSocket; `Frames` for whoever takes it after it was accepted."""

    _listener: Listener | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.loop.call_soon(self._refuse_unreadable)  # the request, which HTTP has read, comes before

    def _refuse_unreadable(self) -> None:
        """uvicorn says nothing to a request that is none of a WebSocket's, as one with a body, and waits for ever."""
        if not self.handshake_initiated:
            self.transport.write(b"".join(self.conn.data_to_send()) or BAD_REQUEST)
            self.transport.close()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.handshake_complete:  # else it was refused
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[FRAMES] = self

    def send_receive_event_to_app(self) -> None:
        if self._listener is None:
            super().send_receive_event_to_app()
        elif not self.close_sent:
            frame, self.frames = b"".join(self.frames), []
            self._listener.received(frame)

    def handle_ping(self) -> None:
        if self.is_writable():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # pongs would pile up for one that does not read

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._listener is not None:
            self._listener.writable()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._listener is not None:
            self._listener.lost()

    def shutdown(self) -> None:
        if not self.transport.is_closing():  # uvicorn would say goodbye to one that has said so, which is an error
            super().shutdown()
        if self._listener is not None:
            self._listener.lost()

    def take(self, listener: Listener) -> None:
        self._listener = listener
        self.resume()
        while not self.queue.empty():
            message = self.queue.get_nowait()
            if message["type"] == "websocket.receive":
                listener.received((message.get("text") or "").encode() or message.get("bytes") or b"")
            else:
                listener.lost()

    def is_writable(self) -> bool:
        return self.writable.is_set()

    def send_frame(self, frame: bytes) -> None:
        if self.conn.state is State.OPEN and not self.disconnected:
            self.conn.send_text(frame)
            self.transport.write(b"".join(self.conn.data_to_send()))

    def pause(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def abort(self) -> None:
        self.transport.abort()
