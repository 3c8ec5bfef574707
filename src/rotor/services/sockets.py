"""A worker's WebSocket as frames: text in, text out, and an end that is not an error."""

from __future__ import annotations

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

__all__ = ["Socket"]

CLOSING = (WebSocketDisconnect, RuntimeError, OSError)
"""What sending on a connection raises once its other side is gone."""


class Socket:
    """Wraps an accepted WebSocket."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> bytes | str | None:
        """The next frame; None once the connection is closed."""
        message = await self._websocket.receive()
        if message["type"] != "websocket.receive":
            return None
        frame: bytes | str | None = message.get("text")
        return message.get("bytes", b"") if frame is None else frame

    async def send(self, frame: str) -> None:
        """Send a frame. Raises `OSError` once the connection is gone."""
        try:
            await self._websocket.send_text(frame)
        except CLOSING as error:
            raise OSError("the connection is gone") from error

    async def close(self, code: int, reason: str) -> None:
        """Close the connection, unless it is closed already."""
        if self._websocket.client_state is WebSocketState.DISCONNECTED:
            return
        try:
            await self._websocket.close(code, reason)
        except CLOSING:
            return
