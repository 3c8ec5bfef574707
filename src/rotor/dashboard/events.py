"""The pages of events: the newest, and one with the runs that it started and the waits that it ended."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from rotor.dashboard.door import Visit
from rotor.dashboard.live import View
from rotor.dashboard.run_page import PAYLOAD_BYTES_SHOWN, PREVIEW_BYTES
from rotor.dashboard.runs import RUNS_PER_PAGE, Filters, draw_rows
from rotor.dashboard.templating import event_path
from rotor.store import event_lists, events, run_lists
from rotor.store.checks import name_problem, text_problem
from rotor.store.outlines import Beginning
from rotor.store.problems import Invalid, NotFound
from rotor.store.run_lists import RunFilters

__all__ = ["look", "show", "show_list"]

EVENTS_PER_PAGE = 50
WAITS_SHOWN = 100


async def show_list(visit: Visit) -> Response:
    name, q = (_text(visit, field) for field in ("name", "q"))
    if q:
        if await events.exists(visit.store.database, visit.workspace_id, q):
            return RedirectResponse(event_path(q), 303)
        raise NotFound(f"there is no event {q[:64]!r}")
    view = await look(visit)
    return visit.page("events.html", name=name, **view.draw())


async def show(visit: Visit) -> Response:
    event_id = visit.request.path_params["event_id"]
    if name_problem(event_id):
        raise NotFound(f"there is no event {event_id[:64]!r}")
    database, workspace_id = visit.store.database, visit.workspace_id
    found = await events.get(database, workspace_id, event_id)
    started = await run_lists.page(database, workspace_id, RunFilters(event_id=event_id), items_max=RUNS_PER_PAGE)
    data = bytes(found.data)
    return visit.page(
        "event.html",
        event=found,
        data=Beginning(data[:PAYLOAD_BYTES_SHOWN], len(data)),
        rows=draw_rows(visit, started, await visit.now(), filters=Filters(event=event_id)),
        resumed=await event_lists.resumed_waits(database, workspace_id, event_id, items_max=WAITS_SHOWN),
    )


async def look(visit: Visit) -> View:
    name, cursor = _text(visit, "name"), visit.request.query_params.get("cursor") or None
    page = await event_lists.page(
        visit.store.database,
        visit.workspace_id,
        name=name or None,
        cursor=cursor,
        items_max=EVENTS_PER_PAGE,
        data_bytes=PREVIEW_BYTES,
    )
    now = await visit.now()
    counted = event_lists.RUNS_COUNTED
    return View(
        page,
        lambda: {"rows": visit.part("events_rows.html", page=page, name=name, cursor=cursor, now=now, counted=counted)},
    )


def _text(visit: Visit, field: str) -> str:
    """A field of the query. Raises `Invalid` that names it."""
    text = visit.request.query_params.get(field, "").strip()
    problem = text_problem(text)
    if problem:
        raise Invalid([(field, problem)])
    return text
