"""The API as one Starlette application; the server adds the dashboard's routes to it."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from rotor.api import apps, audit, checkpoints, events, functions, health, login_links, openapi, runs, signals
from rotor.api.answers import whole
from rotor.api.authentication import LoopbackGuard
from rotor.api.calls import Api
from rotor.api.connect import Connect, connect_route
from rotor.api.problems import problem
from rotor.api.rate_limit import RateLimit
from rotor.api.routing import Operations
from rotor.api.settings import ApiSettings
from rotor.api.streams import Streams
from rotor.store import workspaces
from rotor.store.keys import Keys
from rotor.store.recent import Recent
from rotor.store.signal_links import SignalLinks
from rotor.store.signing_keys import SigningKeys
from rotor.store.store import Store
from rotor.store.tokens import Tokens

__all__ = ["create_app"]

DECLARED = (
    *events.OPERATIONS,
    *functions.OPERATIONS,
    *apps.OPERATIONS,
    *runs.OPERATIONS,
    *signals.OPERATIONS,
    *login_links.OPERATIONS,
    *audit.OPERATIONS,
    *checkpoints.OPERATIONS,
    *health.OPERATIONS,
)
"""Every operation of the API, which OpenAPI describes."""


def create_app(store: Store, *, settings: ApiSettings, connect: Connect, routes: Sequence[BaseRoute] = ()) -> Starlette:
    """The API on `store`, and `routes` beside it. Workers' connections are handed to `connect` with their workspace's
    id, not yet accepted.
    """
    database = store.database

    async def identify(name: str) -> int:
        return await workspaces.identify(database, name)

    signing_keys = SigningKeys(database)
    api = Api(
        store=store,
        settings=settings,
        keys=Keys(database),
        signing_keys=signing_keys,
        tokens=Tokens(signing_keys),
        signal_links=SignalLinks(database),
        streams=Streams(store.changes, store.followers),
        workspaces=Recent(identify, seconds=3600),
        rate_limit=RateLimit(settings.requests_per_second) if settings.requests_per_second else None,
    )
    return Starlette(
        routes=[Operations(api, (*DECLARED, openapi.operation(DECLARED))), connect_route(api, connect), *routes],
        middleware=[] if settings.keys_required else [Middleware(LoopbackGuard)],
        exception_handlers={HTTPException: _unrouted},
    )


async def _unrouted(request: Request, error: Exception) -> Response:
    """No route took the request."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = "there is nothing at this path" if status == 404 else str(error)
    answer = problem(status if status in (404, 405) else 500, detail)
    return whole(answer)
