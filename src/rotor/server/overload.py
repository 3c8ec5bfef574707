"""What is beyond what a server does at a time is answered at once: 503, and when to come again.

Whoever watches over the server is heard all the same: one that looked dead when it had much to do would be restarted,
and then had more. Above these bounds uvicorn has its own, which is the last wall.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from rotor import limits
from rotor.api.answers import deny, respond
from rotor.api.problems import problem

__all__ = ["LAST_WALL", "Bounded"]

LAST_WALL: Final = limits.CONNECTIONS + limits.REQUESTS
"""Connections, or requests under way, beyond which uvicorn answers 503 with no more than those words."""
WATCHED: Final = frozenset({"/healthz", "/readyz", "/metrics"})


class Bounded:
    """`app`, with no more than `REQUESTS` under way and `CONNECTIONS` open."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._under_way = 0
        self.connections: Sized = ()
        """Those that are open; whoever serves this sets it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = None if scope["path"] in WATCHED else self._overload()
        if detail is not None:
            await _refuse(detail, scope, receive, send)
        elif scope["type"] == "http":
            self._under_way += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._under_way -= 1
        else:
            await self._app(scope, receive, send)

    def _overload(self) -> str | None:
        if self._under_way >= limits.REQUESTS:
            return f"{limits.REQUESTS:,} requests are under way here (REQUESTS); try again"
        if len(self.connections) > limits.CONNECTIONS:
            return f"{limits.CONNECTIONS:,} connections are open here (CONNECTIONS); try again"
        return None


async def _refuse(detail: str, scope: Scope, receive: Receive, send: Send) -> None:
    """The connection ends with the answer, which makes room."""
    answer = problem(503, detail, headers=[(b"retry-after", b"1"), (b"connection", b"close")])
    if scope["type"] == "http":
        await respond(answer, send)
    else:
        await deny(answer, WebSocket(scope, receive, send))
