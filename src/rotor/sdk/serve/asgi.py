"""Serves on ASGI: Starlette, FastAPI, Litestar, Quart, Django's ASGI handler, or any other callable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from rotor.sdk.serve.app import Answer, Request, ServedApp, same_path

__all__ = ["AsgiApp", "AsgiEndpoint", "asgi_app"]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class AsgiEndpoint:
    """The ASGI application at the serve path itself."""

    def __init__(self, served: ServedApp) -> None:
        self._served = served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = await _body(receive, self._served.body_bytes_max)
        root = scope.get("root_path", "")
        url = f"{scope.get('scheme', 'http')}://{headers.get('host', '')}{root}{_path(scope)}"
        gone = asyncio.Event()
        watching = asyncio.create_task(_until_gone(receive, gone))
        try:
            answer = await self._served.answer(Request(scope["method"], url, headers, body, gone.is_set))
        finally:
            watching.cancel()
        await _send_answer(send, answer)


def asgi_app(app: AsgiApp, served: ServedApp, path: str) -> AsgiApp:
    """`app` with the serve path in front of it."""
    endpoint = AsgiEndpoint(served)

    async def with_rotor(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and same_path(_path(scope), path):
            await endpoint(scope, receive, send)
        else:
            await app(scope, receive, send)

    return with_rotor


def _path(scope: Scope) -> str:
    """The path inside the app: servers differ in whether `path` includes the `root_path` it is mounted at."""
    root = scope.get("root_path", "")
    path: str = scope["path"]
    return path[len(root) :] if root and path.startswith(root + "/") else path


async def _body(receive: Receive, bytes_max: int) -> bytes:
    """The request's body, or as much of it as shows that it is over the limit."""
    parts, size, more = list[bytes](), 0, True
    while more and size <= bytes_max:
        message = await receive()
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        more = message.get("more_body", False)
    return b"".join(parts)


async def _until_gone(receive: Receive, gone: asyncio.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
    gone.set()


async def _send_answer(send: Send, answer: Answer) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
