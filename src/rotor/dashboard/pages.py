"""The pages of runs, functions and events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import get_args
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from rotor.dashboard.door import Visit
from rotor.dashboard.live import Live, View
from rotor.dashboard.run_page import PAYLOAD_BYTES_SHOWN, run_id_of
from rotor.protocol.messages import RunStatus
from rotor.store import events, functions, outlines, runs
from rotor.store.checks import name_problem, text_problem
from rotor.store.outlines import Beginning, RunLine
from rotor.store.pages import Page
from rotor.store.problems import Invalid, NotFound

__all__ = ["event", "function_list", "run_list", "run_list_live"]

RUNS_PER_PAGE = 50
FUNCTIONS_PER_PAGE = 50
LATEST_RUNS = 12


@dataclass(frozen=True)
class Filters:
    """Which runs are listed; empty: all."""

    function: str = ""
    status: str = ""
    event: str = ""
    cursor: str = ""

    @property
    def query(self) -> str:
        """As the query of a page, without its cursor."""
        given = {"function": self.function, "status": self.status, "event": self.event}
        return urlencode({name: value for name, value in given.items() if value})


async def run_list(visit: Visit) -> Response:
    filters = _filters(visit)
    run_id = await _run_searched(visit, filters.event)
    if run_id is not None:
        return RedirectResponse(f"/dashboard/runs/{run_id}", 303)
    page = await _runs(visit, filters)
    known = await functions.page(visit.store.database, visit.workspace_id)
    return visit.page(
        "runs.html",
        page=page,
        filters=filters,
        statuses=get_args(RunStatus),
        function_ids=[function.id for function in known.items],
        rows=visit.part("runs_rows.html", page=page, filters=filters, now=await _now(visit)),
    )


async def run_list_live(visit: Visit, streams: Live) -> Response:
    filters = _filters(visit)

    async def look() -> View:
        page, now = await _runs(visit, filters), await _now(visit)

        def draw(page: Page[RunLine]) -> dict[str, str]:
            return {"rows": visit.part("runs_rows.html", page=page, filters=filters, now=now)}

        return View(page, partial(draw, page))

    return await streams.follow(look)


async def function_list(visit: Visit) -> Response:
    database = visit.store.database
    page = await functions.page(
        database,
        visit.workspace_id,
        cursor=visit.request.query_params.get("cursor") or None,
        items_max=FUNCTIONS_PER_PAGE,
    )
    latest = await outlines.latest_runs(
        database, visit.workspace_id, [function.id for function in page.items], runs_max=LATEST_RUNS
    )
    return visit.page("functions.html", page=page, latest=latest, now=await _now(visit))


async def event(visit: Visit) -> Response:
    event_id = visit.request.path_params["event_id"]
    if name_problem(event_id):
        raise NotFound(f"there is no event {event_id[:64]!r}")
    found = await events.get(visit.store.database, visit.workspace_id, event_id)
    started = await _runs(visit, Filters(event=event_id))
    filters = Filters(event=event_id)
    data = bytes(found.data)
    return visit.page(
        "event.html",
        event=found,
        data=Beginning(data[:PAYLOAD_BYTES_SHOWN], len(data)),
        page=started,
        filters=filters,
        rows=visit.part("runs_rows.html", page=started, filters=filters, now=await _now(visit)),
    )


async def _runs(visit: Visit, filters: Filters) -> Page[RunLine]:
    statuses: dict[str, RunStatus] = {status: status for status in get_args(RunStatus)}
    return await outlines.page(
        visit.store.database,
        visit.workspace_id,
        function_id=filters.function or None,
        event_id=filters.event or None,
        status=statuses.get(filters.status),
        cursor=filters.cursor or None,
        items_max=RUNS_PER_PAGE,
    )


def _filters(visit: Visit) -> Filters:
    """The filters that the query gives. Raises `Invalid` that names one that cannot be used."""
    query = visit.request.query_params
    filters = Filters(**{name: query.get(name, "").strip() for name in ("function", "status", "event", "cursor")})
    errors = [
        (name, problem)
        for name in ("function", "event")
        if (problem := text_problem(getattr(filters, name))) is not None
    ]
    if filters.status and filters.status not in get_args(RunStatus):
        errors.append(("status", "is not one of a run"))
    if errors:
        raise Invalid(errors)
    return filters


async def _run_searched(visit: Visit, text: str) -> str | None:
    """The run whose id was typed into the search, if there is one."""
    try:
        run_id = run_id_of(text)
        await runs.status(visit.store.database, visit.workspace_id, run_id)
    except NotFound:
        return None
    return str(run_id)


async def _now(visit: Visit) -> datetime:
    now: datetime = await visit.store.database.fetchval("read_clock")
    return now
