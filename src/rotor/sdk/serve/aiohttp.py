"""Serves on aiohttp's own web applications."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web

from rotor.sdk.serve.app import Request, ServedApp

__all__ = ["handler"]


def handler(served: ServedApp) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The request handler of the serve path."""

    async def rotor_handler(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = bytearray()
        async for chunk in request.content.iter_any():  # not request.read, which has a smaller limit of its own
            body += chunk
            if len(body) > served.body_bytes_max:
                break
        url = str(request.url.with_query(None))
        answer = await served.answer(Request(request.method, url, headers, bytes(body), partial(_is_gone, request)))
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)

    return rotor_handler


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()
