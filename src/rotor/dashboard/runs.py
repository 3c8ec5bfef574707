"""The page of all runs: live, filtered, searched."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import get_args
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from rotor.dashboard.door import Visit
from rotor.dashboard.focus import run_id_of
from rotor.dashboard.live import Live, View
from rotor.protocol.messages import RunStatus
from rotor.store import events, functions, run_lists, runs
from rotor.store.checks import text_problem
from rotor.store.problems import Invalid, NotFound
from rotor.store.run_lists import RunFilters, RunList

__all__ = ["Filters", "draw_rows", "live", "show"]

RUNS_PER_PAGE = 50
STATUSES: dict[str, RunStatus] = {status: status for status in get_args(RunStatus)}
SPANS = {
    "15m": ("last 15 minutes", timedelta(minutes=15)),
    "1h": ("last hour", timedelta(hours=1)),
    "24h": ("last day", timedelta(days=1)),
    "7d": ("last week", timedelta(days=7)),
    "30d": ("last 30 days", timedelta(days=30)),
}


@dataclass(frozen=True)
class Filters:
    """Which runs are listed, as the query of the page has it; empty: all."""

    q: str = ""
    """A run's id, an event's id, or a text in payloads."""
    function: str = ""
    name: str = ""
    """Of the event."""
    status: str = ""
    within: str = ""
    since: str = ""
    until: str = ""
    event: str = ""
    cursor: str = ""

    @property
    def query(self) -> str:
        """As the query of a page, without its cursor."""
        return urlencode({name: value for name, value in asdict(self).items() if value and name != "cursor"})

    @property
    def is_live(self) -> bool:
        """The page shows the newest runs, and looking at them again costs little."""
        return not (self.cursor or self.q or self.until)

    def but(self, **changed: str) -> str:
        """The address of the newest runs with some filters changed."""
        query = replace(self, **changed).query
        return f"/dashboard?{query}" if query else "/dashboard"


async def show(visit: Visit) -> Response:
    filters = _filters(visit)
    found = await _found_by_id(visit, filters)
    if found is not None:
        return RedirectResponse(found, 303)
    now = await visit.now()
    page = await _page(visit, filters, now)
    known = await functions.page(visit.store.database, visit.workspace_id)
    return visit.page(
        "runs.html",
        filters=filters,
        statuses=list(STATUSES),
        spans=SPANS,
        function_ids=[function.id for function in known.items],
        rows=draw_rows(visit, page, now, filters=filters),
    )


async def live(visit: Visit, streams: Live) -> Response:
    filters = _filters(visit)

    async def look() -> View:
        now = await visit.now()
        page = await _page(visit, filters, now)
        return View(page, lambda: {"rows": draw_rows(visit, page, now, filters=filters)})

    return await streams.follow(visit.workspace_id, look)


def draw_rows(visit: Visit, page: RunList, now: datetime, *, filters: Filters | None = None) -> str:
    """The table of some runs; with the filters that found them, also where the list goes on."""
    return visit.part("runs_rows.html", page=page, filters=filters, now=now)


async def _page(visit: Visit, filters: Filters, now: datetime) -> RunList:
    since = now - SPANS[filters.within][1] if filters.within else _instant(filters.since)
    wanted = RunFilters(
        function_id=filters.function or None,
        status=STATUSES.get(filters.status),
        event_id=filters.event or None,
        event_name=filters.name or None,
        since=since,
        until=_instant(filters.until),
        text=filters.q or None,
    )
    return await run_lists.page(
        visit.store.database, visit.workspace_id, wanted, cursor=filters.cursor or None, items_max=RUNS_PER_PAGE
    )


def _filters(visit: Visit) -> Filters:
    """The filters that the query gives. Raises `Invalid` that names one that cannot be used."""
    query = visit.request.query_params
    filters = Filters(**{name: query.get(name, "").strip() for name in Filters.__dataclass_fields__})
    errors = [
        (name, problem)
        for name in ("q", "function", "name", "event")
        if (problem := text_problem(getattr(filters, name))) is not None
    ]
    if filters.status and filters.status not in STATUSES:
        errors.append(("status", "is not one of a run"))
    if filters.within and filters.within not in SPANS:
        errors.append(("within", f"is not one of {', '.join(SPANS)}"))
    for name in ("since", "until"):
        try:
            _instant(getattr(filters, name))
        except ValueError:
            errors.append((name, "is not a time such as 2026-03-01T09:00"))
    if errors:
        raise Invalid(errors)
    return filters


def _instant(text: str) -> datetime | None:
    """The time that a form's field gives, which is of UTC unless it says otherwise. Raises `ValueError`."""
    if not text:
        return None
    at = datetime.fromisoformat(text)
    try:
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError("of no year that there is") from None


async def _found_by_id(visit: Visit, filters: Filters) -> str | None:
    """The page to go to, where the search has the id of a run or of an event."""
    if not filters.q:
        return None
    database, workspace_id = visit.store.database, visit.workspace_id
    try:
        run_id = run_id_of(filters.q)
        await runs.status(database, workspace_id, run_id)
        return f"/dashboard/runs/{run_id}"
    except NotFound:
        is_event = await events.exists(database, workspace_id, filters.q)
        return filters.but(q="", event=filters.q, cursor="") if is_event else None
