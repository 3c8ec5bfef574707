"""All routes of the dashboard, which the server adds to the API's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from rotor.dashboard import actions, events, functions, overview, run_page, runs, waiting, workers
from rotor.dashboard.door import Door, Handler, Visit
from rotor.dashboard.live import Live, View
from rotor.dashboard.templating import STATIC, asset
from rotor.store.scopes import Scope
from rotor.store.store import Store

__all__ = ["Dashboard"]

Look = Callable[[Visit], Awaitable[View]]


class Dashboard:
    """The dashboard on `store`."""

    def __init__(self, store: Store, *, login_required: bool, public_url: str | None = None) -> None:
        self.live = Live(store.changes, store.followers)
        self._door = Door(store, login_required=login_required, public_url=public_url)

    def routes(self) -> list[BaseRoute]:
        opens, live = self._door.opens, self.live
        shown: dict[str, Handler] = {
            "": runs.show,
            "/live": partial(runs.live, streams=live),
            "/runs/{run_id}": run_page.show,
            "/runs/{run_id}/live": partial(run_page.live, streams=live),
            "/runs/{run_id}/payload": run_page.payload,
            "/overview": _page("overview.html", overview.look),
            "/live/overview": _stream(overview.look, live),
            "/functions": _page("functions.html", functions.look_at_list),
            "/live/functions": _stream(functions.look_at_list, live),
            "/functions/{function_id:path}": _page("function.html", functions.look),
            "/live/functions/{function_id:path}": _stream(functions.look, live),
            "/events": events.show_list,
            "/events/{event_id:path}": events.show,
            "/live/events": _stream(events.look, live),
            "/waiting": _page("waiting.html", waiting.look),
            "/live/waiting": _stream(waiting.look, live),
            "/workers": _page("workers.html", workers.look),
            "/live/workers": _stream(workers.look, live),
        }
        done: dict[str, tuple[Handler, Scope | None]] = {
            "/runs/{run_id}/cancel": (actions.cancel, "operate"),
            "/runs/{run_id}/replay": (actions.replay, "operate"),
            "/runs/{run_id}/signal": (actions.complete_signal, "send"),
            "/waiting/complete": (actions.complete_waiting, "send"),
            "/runs/{run_id}/wake": (actions.wake, "operate"),
            "/functions/pause": (actions.pause, "operate"),
            "/functions/resume": (actions.resume, "operate"),
            "/functions/send": (actions.send_event, "send"),
            "/logout": (self._door.log_out, None),
        }
        return [
            Route("/dashboard/static/{version}/{name}", static, methods=["GET"]),
            Route("/dashboard/login", self._door.login_page, methods=["GET"]),
            Route("/dashboard/login", self._door.log_in, methods=["POST"]),
            Route("/dashboard/link/{token}", self._door.link_page, methods=["GET"]),
            Route("/dashboard/link", self._door.use_link, methods=["POST"]),
            *(Route(f"/dashboard{path}", opens(handler, "read"), methods=["GET"]) for path, handler in shown.items()),
            *(Route(f"/dashboard{path}", opens(*how), methods=["POST"]) for path, how in done.items()),
        ]


def _page(template: str, look: Look) -> Handler:
    """A page whose parts are those of a view."""

    async def show(visit: Visit) -> Response:
        view = await look(visit)
        return visit.page(template, **view.draw())

    return show


def _stream(look: Look, streams: Live) -> Handler:
    """The same parts again whenever they look different."""
    return lambda visit: streams.follow(visit.workspace_id, partial(look, visit))


async def static(request: Request) -> Response:
    """A static file, which browsers keep: its address changes with its content."""
    name = request.path_params["name"]
    if name not in STATIC:
        return PlainTextResponse("there is no such file", 404)
    headers = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}
    return Response(asset(name), media_type=STATIC[name], headers=headers)
