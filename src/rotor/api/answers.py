"""What a handler gives back: a body in one piece, or one that is sent piece by piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final, TypeAlias

import msgspec
from starlette.responses import Response
from starlette.types import Send
from starlette.websockets import WebSocket

__all__ = ["Answer", "StreamAnswer", "deny", "json_answer", "respond", "whole"]

Header: TypeAlias = tuple[bytes, bytes]

AS_DECLARED: Final = (b"x-content-type-options", b"nosniff")
"""Payloads are JSON, whatever a browser that opens the address might take them for."""

_encoder = msgspec.json.Encoder()


class Answer:
    """A status and a body."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        *,
        content_type: bytes = b"application/json",
        headers: Sequence[Header] = (),
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers


class StreamAnswer:
    """A status and the pieces of a body; the pieces are closed whatever happens."""

    __slots__ = ("chunks", "content_type", "headers", "status")

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        *,
        content_type: bytes = b"application/json",
        headers: Sequence[Header] = (),
    ) -> None:
        self.status = 200
        self.chunks = chunks
        self.content_type = content_type
        self.headers = headers


def json_answer(value: Any, status: int = 200) -> Answer:
    """`value` as JSON."""
    return Answer(status, _encoder.encode(value))


async def respond(answer: Answer | StreamAnswer, send: Send) -> None:
    """Send the whole answer."""
    headers = [(b"content-type", answer.content_type), AS_DECLARED, *answer.headers]
    if isinstance(answer, StreamAnswer):
        async with aclosing(answer.chunks) as chunks:
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        return
    if answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def deny(answer: Answer, websocket: WebSocket) -> None:
    """Answer a WebSocket that is not accepted."""
    await websocket.receive()
    await websocket.send_denial_response(whole(answer))


def whole(answer: Answer) -> Response:
    """The answer as one of Starlette's."""
    headers = {name.decode(): value.decode() for name, value in (AS_DECLARED, *answer.headers)}
    return Response(answer.body, answer.status, headers, media_type=answer.content_type.decode())
