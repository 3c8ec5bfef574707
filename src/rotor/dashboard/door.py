"""The door of the dashboard: who comes in, and what goes out with every answer.

In development nobody logs in, for the server hears its own machine alone. Otherwise an API key begins a session, whose
token is a cookie that no script reads and no other site sends. A form is taken only from a page of this server: its
Origin must be ours, and within a session it must carry the session's form token.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from rotor import limits
from rotor.dashboard.templating import render
from rotor.store import workspaces
from rotor.store.audit import caller_acts
from rotor.store.problems import Conflict, Invalid, NotFound, Overloaded, Problem, is_unavailable
from rotor.store.scopes import EVERYTHING, Caller, Scope
from rotor.store.sessions import SESSION, Sessions
from rotor.store.store import Store

__all__ = ["STRANGERS_FORM_BYTES", "Door", "Forbidden", "Handler", "Visit", "closed", "read_form", "theme_of", "told"]

log = logging.getLogger("rotor.dashboard")

COOKIE = "rotor_session"
THEME_COOKIE = "rotor_theme"
"""Set by shell.js."""
FORM_FIELDS = 20
STRANGERS_FORM_BYTES = 8 * 1024
"""What is read of somebody who has not logged in."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
STATUSES: tuple[tuple[type[Problem], int], ...] = ((NotFound, 404), (Conflict, 409), (Invalid, 422), (Overloaded, 503))


class Forbidden(Problem):
    """The form comes from where none is taken, or the session lacks the scope for it."""


@dataclass(frozen=True)
class Visit:
    """One request of somebody who may come in."""

    request: Request
    store: Store
    caller: Caller
    form_token: str
    """What its forms carry; empty in development."""
    form: dict[str, str]

    @property
    def workspace_id(self) -> int:
        return self.caller.workspace_id

    @property
    def workspace(self) -> str:
        return self.caller.workspace

    @property
    def logged_in(self) -> bool:
        return bool(self.form_token)

    def may(self, scope: Scope) -> bool:
        """Whether to offer what needs `scope`."""
        return self.caller.may(scope)

    async def now(self) -> datetime:
        """The database's time."""
        now: datetime = await self.store.database.fetchval("read_clock")
        return now

    @property
    def in_development(self) -> bool:
        """Nobody logs in, for the server hears its own machine alone."""
        return not self.form_token

    def page(self, template: str, **values: object) -> Response:
        return HTMLResponse(self.part(template, theme=theme_of(self.request), **values))

    def part(self, template: str, **values: object) -> str:
        return render(template, visit=self, **values)


Handler = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Door:
    """Lets visitors in to handlers."""

    def __init__(self, store: Store, *, login_required: bool, public_url: str | None = None) -> None:
        self._store = store
        self._sessions = Sessions(store.database)
        self._login_required = login_required
        self._public = urlsplit(public_url) if public_url else None

    def opens(self, handler: Handler, scope: Scope | None) -> Endpoint:
        """The endpoint of a handler that only somebody reaches who is logged in with a key that has `scope`."""

        async def endpoint(request: Request) -> Response:
            try:
                response = await self._enter(request, handler, scope)
            except Exception as error:
                response = told(request, error)
            return closed(response)

        return endpoint

    async def login_page(self, request: Request) -> Response:
        try:
            is_in = not self._login_required or await self._session(request) is not None
        except Exception as error:
            return closed(told(request, error))
        if is_in:
            return closed(RedirectResponse("/dashboard", 303))
        return closed(_login(request, _next(request.query_params.get("next", "")), ""))

    async def log_in(self, request: Request) -> Response:
        try:
            form = await self._form(request, bytes_max=STRANGERS_FORM_BYTES)
            token = await self._sessions.begin(form.get("key", "").strip())
        except Exception as error:
            return closed(told(request, error))
        to = _next(form.get("next", ""))
        problem = "This API key is unknown, revoked or expired, or lacks the scope read."
        return self._begun(request, token, to, problem)

    async def link_page(self, request: Request) -> Response:
        """The page of a login link. Opening it does nothing, so that programs which open links do not use it up."""
        if not self._login_required:
            return closed(RedirectResponse("/dashboard", 303))
        text = render("login_link.html", visit=None, theme=theme_of(request), token=request.path_params["token"])
        return closed(HTMLResponse(text))

    async def use_link(self, request: Request) -> Response:
        try:
            form = await self._form(request, bytes_max=STRANGERS_FORM_BYTES)
            token = await self._sessions.begin_by_link(form.get("token", ""))
        except Exception as error:
            return closed(told(request, error))
        return self._begun(request, token, "/dashboard", "This link was used before, or has expired: ask for another.")

    def _begun(self, request: Request, token: str | None, to: str, problem: str) -> Response:
        """The answer to a login: on with the session, or what was wrong."""
        if token is None:
            return closed(_login(request, to, problem, 403))
        response = RedirectResponse(to, 303)
        response.set_cookie(
            COOKIE,
            token,
            max_age=int(SESSION.total_seconds()),
            path="/dashboard",
            secure=self._is_secure(request),
            httponly=True,
            samesite="strict",
        )
        return closed(response)

    async def log_out(self, visit: Visit) -> Response:
        response = RedirectResponse("/dashboard/login", 303)
        response.delete_cookie(COOKIE, path="/dashboard", httponly=True, samesite="strict")
        return response

    async def _enter(self, request: Request, handler: Handler, scope: Scope | None) -> Response:
        if not self._login_required:
            workspace_id = await workspaces.identify(self._store.database)
            caller, token = Caller(workspace_id, workspaces.DEFAULT, EVERYTHING), ""
        else:
            found = await self._session(request)
            if found is None:
                return _to_login(request)
            caller = found
            token = await self._sessions.form_token(caller, request.cookies[COOKIE])
        if scope is not None and not caller.may(scope):
            raise Forbidden(f"the key of this session lacks the scope {scope}: log in with one that has it")
        form: dict[str, str] = {}
        if request.method == "POST":
            form = await self._form(request)
            await self._check_form(request, caller, form)
            caller_acts(caller, request.client)
        visit = Visit(request, self._store, caller, token, form)
        try:
            return await handler(visit)
        except Exception as error:
            return told(request, error, visit)

    async def _session(self, request: Request) -> Caller | None:
        token = request.cookies.get(COOKIE)
        return await self._sessions.find(token) if token else None

    async def _form(self, request: Request, *, bytes_max: int = limits.REQUEST_BYTES) -> dict[str, str]:
        """The fields of a form that one of our own pages sent. Raises `Forbidden` and `Invalid`."""
        scheme, _, place = request.headers.get("origin", "").lower().partition("://")
        hosts = {request.headers.get("host", "").lower()} | ({self._public.netloc.lower()} if self._public else set())
        if scheme not in ("http", "https") or place not in hosts - {""}:
            raise Forbidden("the form was not sent by a page of this dashboard (its Origin is another)")
        return await read_form(request, bytes_max=bytes_max)

    async def _check_form(self, request: Request, caller: Caller, form: dict[str, str]) -> None:
        if not self._login_required:
            return
        if not await self._sessions.is_form_token(caller, request.cookies[COOKIE], form.get("form_token", "")):
            raise Forbidden("the form is not one of this session: load its page again")

    def _is_secure(self, request: Request) -> bool:
        return request.url.scheme == "https" or (self._public is not None and self._public.scheme == "https")


async def read_form(request: Request, *, bytes_max: int) -> dict[str, str]:
    """The fields of a form. Raises `Invalid`."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            raise Invalid([("form", f"is larger than {bytes_max:,} bytes")])
    try:
        return dict(
            parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FORM_FIELDS)
        )
    except ValueError:
        raise Invalid([("form", "cannot be read: send it from its page")]) from None


def _to_login(request: Request) -> Response:
    path = request.url.path
    if request.method != "GET" or path.startswith("/dashboard/live") or path.endswith("/live"):
        return _problem(request, 401, "Log in first.")
    here = path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/dashboard/login?next={quote(here, safe='')}", 303)


def theme_of(request: Request) -> str:
    """Which of light and dark the reader has chosen; empty: as the system has it."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in ("light", "dark") else ""


def _login(request: Request, to: str, problem: str, status: int = 200) -> Response:
    return HTMLResponse(render("login.html", visit=None, theme=theme_of(request), next=to, problem=problem), status)


def _problem(request: Request, status: int, message: str, visit: Visit | None = None) -> Response:
    text = render("problem.html", visit=visit, theme=theme_of(request), status=status, message=message)
    return HTMLResponse(text, status)


def _next(given: str) -> str:
    """Where to go after the login: a page of the dashboard, whatever was asked for."""
    inside = given == "/dashboard" or given.startswith(("/dashboard/", "/dashboard?"))
    return given if inside and given.isprintable() and "\\" not in given else "/dashboard"


def told(request: Request, error: Exception, visit: Visit | None = None) -> Response:
    """The page that tells what went wrong; an error that is not foreseen is logged, without its message."""
    if isinstance(error, Forbidden):
        status, message = 403, str(error)
    elif isinstance(error, Problem):
        status = next(status for kind, status in STATUSES if isinstance(error, kind))
        message = str(error)
    elif is_unavailable(error):
        log.warning("the database does not answer: %s", type(error).__name__)
        status, message = 503, "the database does not answer; try again"
    else:
        log.error("%s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
        status, message = 500, "an error that was not foreseen; the server's log says where"
    answer = _problem(request, status, message, visit)
    if status == 503:
        answer.headers["retry-after"] = "1"
    return answer


def closed(response: Response) -> Response:
    """The answer with what keeps others from reading, framing or scripting it."""
    response.headers["content-security-policy"] = POLICY
    response.headers["x-content-type-options"] = "nosniff"
    response.headers["referrer-policy"] = "same-origin"
    response.headers["cross-origin-opener-policy"] = "same-origin"
    response.headers.setdefault("cache-control", "no-store")
    return response
