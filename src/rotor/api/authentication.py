"""Who asks: an API key speaks for its workspace; a developer's own machine needs none, and hears nobody else.

A page on the web can make a browser send requests to 127.0.0.1. Such a request carries the page's Origin, or, where
the page's own name was pointed at 127.0.0.1, a foreign Host; so where no key is needed, both must name this machine.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from rotor.api.answers import respond
from rotor.api.calls import Api, header
from rotor.api.problems import Forbidden, Unauthorized, problem
from rotor.store import workspaces
from rotor.store.problems import is_unavailable
from rotor.store.scopes import EVERYTHING, Caller
from rotor.store.scopes import Scope as KeyScope

__all__ = ["LoopbackGuard", "authenticate", "bearer", "require", "still_may"]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


async def authenticate(api: Api, scope: Scope) -> Caller:
    """Who sends the request. Raises `Unauthorized`."""
    key = bearer(scope)
    caller = await api.keys.authenticate(key) if key is not None else None
    if caller is not None:
        return caller
    if not api.settings.keys_required:
        return Caller(await api.workspaces.get(workspaces.DEFAULT), workspaces.DEFAULT, EVERYTHING)
    if key is None:
        raise Unauthorized("send an API key as `Authorization: Bearer KEY`; `rotor keys create` makes one")
    raise Unauthorized("the API key is unknown, revoked or expired; `rotor keys list` shows those that are valid")


def require(caller: Caller, scope: KeyScope) -> None:
    """Raise `Forbidden` where the caller's key lacks `scope`."""
    if not caller.may(scope):
        raise Forbidden(
            f"the API key lacks the scope `{scope}`; `rotor keys create --scope {scope}` makes one that has it"
        )


async def still_may(api: Api, scope: Scope, needed: KeyScope) -> bool:
    """Whether a request that takes long may go on: its key has neither been revoked since nor expired. While the
    database does not answer it may, for then nothing can be read or written."""
    try:
        require(await authenticate(api, scope), needed)
    except (Unauthorized, Forbidden):
        return False
    except Exception as error:
        if not is_unavailable(error):
            raise
    return True


def bearer(scope: Scope) -> str | None:
    """The request's bearer token."""
    scheme, _, token = (header(scope, b"authorization") or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


class LoopbackGuard:
    """Refuses requests whose Host or Origin is not this machine, before anything else sees them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = _refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await respond(problem(403, refusal), send)
        else:
            # Before it is accepted, a closed connection is answered 403 by the server.
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "foreign Host or Origin"})


def _refusal(scope: Scope) -> str | None:
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    if len(hosts) != 1 or _place(f"http://{hosts[0].decode('latin-1')}") is None:
        return "this server needs no key, so it answers to localhost and 127.0.0.1 alone: the Host header names another"
    host = _place(f"http://{hosts[0].decode('latin-1')}")
    if any(_place(origin.decode("latin-1")) != host for origin in origins):
        return "this server needs no key, so it answers no other web page: the Origin header names one"
    return None


def _place(url: str) -> int | None:
    """The port of a URL that names this machine, else None."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if (
        parts.scheme != "http"
        or parts.hostname not in LOOPBACK
        or parts.username is not None
        or parts.path not in ("", "/")
    ):
        return None
    return 80 if port is None else port
