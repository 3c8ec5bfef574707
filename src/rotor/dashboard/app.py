"""All routes of the dashboard, which the server adds to the API's."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from rotor.dashboard import actions, pages, run_page
from rotor.dashboard.door import Door, Handler
from rotor.dashboard.live import Live
from rotor.dashboard.templating import STATIC, asset
from rotor.store.scopes import Scope
from rotor.store.store import Store

__all__ = ["Dashboard"]


class Dashboard:
    """The dashboard on `store`. When the server stops it calls `end`, so that open streams do not hold it up."""

    def __init__(self, store: Store, *, login_required: bool, public_url: str | None = None) -> None:
        self.live = Live(store.changes)
        self._door = Door(store, login_required=login_required, public_url=public_url)

    def end(self) -> None:
        self.live.end()

    def routes(self) -> list[BaseRoute]:
        opens, live = self._door.opens, self.live
        shown: dict[str, Handler] = {
            "": pages.run_list,
            "/live": partial(pages.run_list_live, streams=live),
            "/runs/{run_id}": run_page.show,
            "/runs/{run_id}/live": partial(run_page.live, streams=live),
            "/functions": pages.function_list,
            "/events/{event_id:path}": pages.event,
        }
        done: dict[str, tuple[Handler, Scope | None]] = {
            "/runs/{run_id}/cancel": (actions.cancel, "operate"),
            "/runs/{run_id}/replay": (actions.replay, "operate"),
            "/runs/{run_id}/signal": (actions.complete_signal, "send"),
            "/functions/pause": (actions.pause, "operate"),
            "/functions/resume": (actions.resume, "operate"),
            "/functions/send": (actions.send_event, "send"),
            "/logout": (self._door.log_out, None),
        }
        return [
            Route("/dashboard/static/{version}/{name}", static, methods=["GET"]),
            Route("/dashboard/login", self._door.login_page, methods=["GET"]),
            Route("/dashboard/login", self._door.log_in, methods=["POST"]),
            *(Route(f"/dashboard{path}", opens(handler, "read"), methods=["GET"]) for path, handler in shown.items()),
            *(Route(f"/dashboard{path}", opens(*how), methods=["POST"]) for path, how in done.items()),
        ]


async def static(request: Request) -> Response:
    """A static file, which browsers keep: its address changes with its content."""
    name = request.path_params["name"]
    if name not in STATIC:
        return PlainTextResponse("there is no such file", 404)
    headers = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}
    return Response(asset(name), media_type=STATIC[name], headers=headers)
