"""`/v1/connect`: a worker's WebSocket, handed to the server for as long as its key holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeAlias

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from rotor.api.answers import deny
from rotor.api.authentication import authenticate, require, still_may
from rotor.api.calls import Api
from rotor.api.problems import problem_of
from rotor.store.audit import caller_acts

__all__ = ["Connect", "connect_route"]

Connect: TypeAlias = Callable[[WebSocket, int], Coroutine[Any, Any, None]]
"""Takes a WebSocket that is not accepted yet and the workspace's id, and returns once the connection is over.
Cancelled, it gives back what the worker holds."""

KEY_CHECKED_EVERY_SECONDS = 5.0
KEY_REFUSED = 4401
"""The close code for a worker whose key no longer holds; when it comes back, it is told so."""


def connect_route(api: Api, connect: Connect) -> WebSocketRoute:
    """The route of workers' connections."""

    async def endpoint(websocket: WebSocket) -> None:
        try:
            caller = await authenticate(api, websocket.scope)
            require(caller, "operate")
        except Exception as error:
            await deny(problem_of(error), websocket)
        else:
            caller_acts(caller, websocket.scope["client"])
            serving = asyncio.create_task(connect(websocket, caller.workspace_id), name="rotor worker connection")
            await _while_allowed(api, websocket, serving)

    return WebSocketRoute("/v1/connect", endpoint, name="connect")


async def _while_allowed(api: Api, websocket: WebSocket, serving: asyncio.Task[None]) -> None:
    """Wait for the connection's end, and bring it about where its key ends first."""
    try:
        while not (await asyncio.wait({serving}, timeout=KEY_CHECKED_EVERY_SECONDS))[0]:
            if not await still_may(api, websocket.scope, "operate"):
                break
    finally:
        was_cut_off = serving.cancel()
        await asyncio.wait({serving})
    if was_cut_off and websocket.client_state is WebSocketState.CONNECTED:
        with suppress(WebSocketDisconnect):  # it was over just then
            await websocket.close(KEY_REFUSED, "the API key was revoked or has expired")
    elif not was_cut_off:
        await serving
