"""`/v1/connect`: a worker's WebSocket, handed to the server once its key is known to be good."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.responses import Response
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from rotor.api.authentication import authenticate
from rotor.api.calls import Api
from rotor.api.problems import problem_of

__all__ = ["Connect", "connect_route"]

Connect: TypeAlias = Callable[[WebSocket, int], Awaitable[None]]
"""Takes a WebSocket that is not accepted yet and the workspace's id, and returns once the connection is over."""


def connect_route(api: Api, connect: Connect) -> WebSocketRoute:
    """The route of workers' connections."""

    async def endpoint(websocket: WebSocket) -> None:
        try:
            workspace_id = await authenticate(api, websocket.scope)
        except Exception as error:
            answer = problem_of(error)
            await websocket.receive()
            headers = {name.decode(): value.decode() for name, value in answer.headers}
            response = Response(answer.body, answer.status, headers, media_type=answer.content_type.decode())
            await websocket.send_denial_response(response)
        else:
            await connect(websocket, workspace_id)

    return WebSocketRoute("/v1/connect", endpoint, name="connect")
