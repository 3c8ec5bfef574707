"""The pages of functions: what starts them, how they do, and what people may do with them."""

from __future__ import annotations

from rotor.dashboard.door import Visit
from rotor.dashboard.live import View
from rotor.dashboard.runs import draw_rows
from rotor.dashboard.words import pretty
from rotor.store import event_lists, figures, functions, run_lists
from rotor.store.checks import name_problem
from rotor.store.functions import Function
from rotor.store.problems import NotFound
from rotor.store.run_lists import RunFilters

__all__ = ["look", "look_at_list"]

FUNCTIONS_PER_PAGE = 50
LATEST_RUNS = 12
RUNS_SHOWN = 20
SAMPLE_BYTES = 4_096


async def look_at_list(visit: Visit) -> View:
    """Some functions, with their latest runs and figures."""
    database, workspace_id = visit.store.database, visit.workspace_id
    cursor = visit.request.query_params.get("cursor") or None
    page = await functions.page(database, workspace_id, cursor=cursor, items_max=FUNCTIONS_PER_PAGE)
    ids = [function.id for function in page.items]
    latest = await run_lists.latest_runs(database, workspace_id, ids, runs_max=LATEST_RUNS)
    done = await figures.of_functions(database, workspace_id, ids)
    now = await visit.now()
    return View(
        (page, latest, done),
        lambda: {"rows": visit.part("functions_rows.html", page=page, latest=latest, figures=done, now=now)},
    )


async def look(visit: Visit) -> View:
    """The function, its figures and its latest runs. Raises `NotFound`."""
    database, workspace_id = visit.store.database, visit.workspace_id
    function_id = visit.request.path_params["function_id"]
    if name_problem(function_id):
        raise NotFound(f"there is no function {function_id[:64]!r}")
    function = await functions.get(database, workspace_id, function_id)
    now = await visit.now()
    latest = await run_lists.page(database, workspace_id, RunFilters(function_id=function_id), items_max=RUNS_SHOWN)
    done = (await figures.of_functions(database, workspace_id, [function_id]))[function_id]
    sample = await _sample(visit, function)

    def draw() -> dict[str, str]:
        head = visit.part("function_head.html", function=function, figures=done, sample=sample, now=now)
        return {"head": head, "rows": draw_rows(visit, latest, now)}

    return View((function, latest, done), draw)


async def _sample(visit: Visit, function: Function) -> str:
    """Data for a test event: that of the latest event which may have started the function."""
    name = next((trigger.event for trigger in function.triggers if trigger.event), None)
    if name is None:
        return "{}"
    page = await event_lists.page(
        visit.store.database, visit.workspace_id, name=name, items_max=1, data_bytes=SAMPLE_BYTES
    )
    return pretty(page.items[0].data) if page.items and page.items[0].data.is_whole else "{}"
