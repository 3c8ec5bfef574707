"""The page of one run: its graph, its timeline and one of its steps beside them, once and live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from rotor.dashboard.door import Visit
from rotor.dashboard.graph import StepGroup, draw, group_steps
from rotor.dashboard.live import Live, View
from rotor.dashboard.timeline import unroll
from rotor.dashboard.words import reason
from rotor.store import outlines
from rotor.store.outlines import RunOutline, StepOutline
from rotor.store.problems import NotFound

__all__ = ["live", "run_id_of", "show"]

STEPS_DRAWN = 5_000
PREVIEW_BYTES = 256
PAYLOAD_BYTES_SHOWN = 128 * 1024
MEMBERS_SHOWN = 1_000
INDEX_MAX = 2**31


@dataclass(frozen=True)
class Selected:
    """Which step or group of the run is shown beside its graph."""

    step_id: str
    index: int
    is_group: bool


@dataclass(frozen=True)
class Seen:
    """All that is drawn of a run."""

    run: RunOutline
    steps: list[StepOutline]
    selected: StepOutline | None


async def show(visit: Visit) -> Response:
    run_id, selected = run_id_of(visit.request.path_params["run_id"]), _selected(visit.request)
    seen = await _look(visit, run_id, selected)
    return visit.page("run.html", run=seen.run, **_parts(visit, seen, selected))


async def live(visit: Visit, streams: Live) -> Response:
    run_id, selected = run_id_of(visit.request.path_params["run_id"]), _selected(visit.request)

    async def look() -> View:
        seen = await _look(visit, run_id, selected)
        # The time of the look is no news by itself.
        compared = (msgspec.structs.replace(seen.run, now=seen.run.created_at), seen.steps, seen.selected)
        return View(compared, partial(_parts, visit, seen, selected), ended=seen.run.ended_at is not None)

    return await streams.follow(look, run_id)


def run_id_of(text: str) -> UUID:
    """The run that a path names. Raises `NotFound` for what is no run's id."""
    try:
        run_id = UUID(text)
    except ValueError:
        raise NotFound(f"there is no run {text[:64]!r}") from None
    if str(run_id) != text.lower():
        raise NotFound(f"there is no run {text[:64]!r}")
    return run_id


async def _look(visit: Visit, run_id: UUID, selected: Selected | None) -> Seen:
    database, workspace_id = visit.store.database, visit.workspace_id
    run = await outlines.get_run(database, workspace_id, run_id, payload_bytes=PAYLOAD_BYTES_SHOWN)
    steps = await outlines.steps(database, workspace_id, run_id, steps_max=STEPS_DRAWN, payload_bytes=PREVIEW_BYTES)
    step = None
    if selected is not None and not selected.is_group:
        step = await outlines.get_step(
            database, workspace_id, run_id, selected.step_id, selected.index, payload_bytes=PAYLOAD_BYTES_SHOWN
        )
    return Seen(run, steps, step)


def _parts(visit: Visit, seen: Seen, selected: Selected | None) -> Mapping[str, str]:
    """The HTML of each part of the page."""
    groups, folded = group_steps(seen.steps)
    run = seen.run
    group = _find_group(groups, selected)
    return {
        "head": visit.part("run_head.html", run=run, reasons=reason(run, seen.steps), count=len(seen.steps)),
        "approvals": visit.part(
            "run_approvals.html",
            run=run,
            signals=[one for one in seen.steps if one.op == "wait_for_signal" and one.status == "waiting"],
        ),
        "graph": visit.part(
            "run_graph.html",
            run=run,
            graph=draw(run, groups, folded),
            selected=selected,
            is_cut=len(seen.steps) == STEPS_DRAWN,
        ),
        "timeline": visit.part("run_timeline.html", run=run, timeline=unroll(run, groups)),
        "panel": visit.part("run_panel.html", run=run, step=seen.selected, group=group, members_max=MEMBERS_SHOWN),
        "payloads": visit.part("run_payloads.html", run=run),
    }


def _find_group(groups: list[StepGroup], selected: Selected | None) -> StepGroup | None:
    if selected is None or not selected.is_group:
        return None
    wanted = (selected.step_id, selected.index)
    return next((group for group in groups if any((one.id, one.index) == wanted for one in group.steps)), None)


def _selected(request: Request) -> Selected | None:
    query = request.query_params
    step_id, index = query.get("step", ""), query.get("index", "0")
    if not step_id:
        return None
    if "\0" in step_id or not index.isdecimal() or not index.isascii() or int(index[:12]) >= INDEX_MAX:
        raise NotFound(f"the run has no step {step_id[:64]!r}")
    return Selected(step_id, int(index[:12]), "group" in query)
