"""The page of one run: its graph, its timeline, its log and one of its steps beside them, once and live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from uuid import UUID

import msgspec
from starlette.responses import Response

from rotor.dashboard.door import Visit
from rotor.dashboard.focus import Focus, focus_of
from rotor.dashboard.graph import draw
from rotor.dashboard.grouping import Grouped, StepGroup, group_steps
from rotor.dashboard.live import Live, View
from rotor.dashboard.timeline import unroll
from rotor.dashboard.words import reason
from rotor.store import outlines, run_logs
from rotor.store.outlines import Beginning, RunOutline, StepOutline
from rotor.store.problems import NotFound
from rotor.store.run_logs import Line

__all__ = ["PAYLOAD_BYTES_SHOWN", "PREVIEW_BYTES", "live", "payload", "show"]

STEPS_DRAWN = 5_000
STEPS_DRAWN_OF_CHILD = 1_000
PREVIEW_BYTES = 256
PAYLOAD_BYTES_SHOWN = 128 * 1024
MEMBERS_SHOWN = 1_000
LINES_SHOWN = 500
LAST_LINES_WITHIN = timedelta(seconds=5)
"""What a run logged at its end is written by itself, and may come after that."""


@dataclass(frozen=True)
class Told:
    """A run and its steps as they were read, with its unfolded children."""

    run: RunOutline
    steps: list[StepOutline]
    children: Mapping[UUID, Told]

    def all(self) -> Iterator[Told]:
        yield self
        for child in self.children.values():
            yield from child.all()

    def grouped(self) -> Grouped:
        children = {run_id: child.grouped() for run_id, child in self.children.items()}
        return group_steps(self.run, self.steps, children)


@dataclass(frozen=True)
class Seen:
    """All that is shown of a run."""

    told: Told
    chosen: StepOutline | None
    lines: list[Line]
    chosen_lines: list[Line]
    """The lines of the run that the chosen step is of."""

    @property
    def news(self) -> object:
        """What differs where there is something to draw: the time of the look is no news by itself."""
        runs = [(msgspec.structs.replace(one.run, now=one.run.created_at), one.steps) for one in self.told.all()]
        return runs, self.chosen, self.lines, self.chosen_lines


async def show(visit: Visit) -> Response:
    focus = focus_of(visit.request)
    seen = await _look(visit, focus)
    return visit.page("run.html", run=seen.told.run, is_final=_is_final(seen.told.run), **_parts(visit, seen, focus))


async def live(visit: Visit, streams: Live) -> Response:
    focus = focus_of(visit.request)

    async def look() -> View:
        seen = await _look(visit, focus)
        runs = [one.run for one in seen.told.all()]
        ended = all(_is_final(run) for run in runs)
        return View(seen.news, partial(_parts, visit, seen, focus), ended, frozenset(run.id for run in runs))

    return await streams.follow(visit.workspace_id, look)


def _is_final(run: RunOutline) -> bool:
    """Whether nothing of it changes any more."""
    return run.ended_at is not None and run.now - run.ended_at > LAST_LINES_WITHIN


async def payload(visit: Visit) -> Response:
    """One whole payload as plain text: a step's output, or the run's event or output."""
    focus, database = focus_of(visit.request), visit.store.database
    size = {"payload_bytes": visit.store.payload_bytes_max}
    found: Beginning | None
    if focus.chosen is not None:
        one = focus.chosen
        step = await outlines.get_step(database, visit.workspace_id, one.run_id, one.step_id, one.index, **size)
        found = step.output
    else:
        run = await outlines.get_run(database, visit.workspace_id, focus.run_id, **size)
        found = run.event_data if visit.request.query_params.get("what") == "event" else run.output
    if found is None:
        raise NotFound("there is no such payload")
    return Response(found.head, media_type="text/plain; charset=utf-8")


async def _look(visit: Visit, focus: Focus) -> Seen:
    database, workspace_id = visit.store.database, visit.workspace_id
    told = await _tell(visit, focus, focus.run_id, payload_bytes=PAYLOAD_BYTES_SHOWN, steps_max=STEPS_DRAWN)
    one, step = focus.chosen, None
    if one is not None and not one.is_group:
        step = await outlines.get_step(
            database, workspace_id, one.run_id, one.step_id, one.index, payload_bytes=PAYLOAD_BYTES_SHOWN
        )
    lines = await run_logs.latest(database, workspace_id, focus.run_id, lines_max=LINES_SHOWN)
    step_lines = lines
    if one is not None and one.run_id != focus.run_id:
        step_lines = await run_logs.latest(database, workspace_id, one.run_id, lines_max=LINES_SHOWN)
    return Seen(told, step, lines, step_lines if step is not None else [])


async def _tell(visit: Visit, focus: Focus, run_id: UUID, *, payload_bytes: int, steps_max: int) -> Told:
    """The run with its steps, and those of its children that are unfolded, theirs within."""
    database, workspace_id = visit.store.database, visit.workspace_id
    run = await outlines.get_run(database, workspace_id, run_id, payload_bytes=payload_bytes)
    steps = await outlines.steps(database, workspace_id, run_id, steps_max=steps_max, payload_bytes=PREVIEW_BYTES)
    children = {}
    for step in steps:
        child = step.child_run_id
        if child is None or str(child) not in focus.unfolded:
            continue
        with suppress(NotFound):  # it is pruned
            children[child] = await _tell(
                visit, focus, child, payload_bytes=PREVIEW_BYTES, steps_max=STEPS_DRAWN_OF_CHILD
            )
    return Told(run, steps, children)


def _parts(visit: Visit, seen: Seen, focus: Focus) -> Mapping[str, str]:
    """The HTML of each part of the page."""
    run, steps, drawn = seen.told.run, seen.told.steps, seen.told.grouped()
    signals = [
        (one.run.id, step)
        for one in seen.told.all()
        for step in one.steps
        if step.op == "wait_for_signal" and step.status == "waiting"
    ]
    return {
        "head": visit.part("run_head.html", run=run, reasons=reason(run, steps), count=len(steps), focus=focus),
        "approvals": visit.part("run_approvals.html", signals=signals),
        "graph": visit.part("run_graph.html", graph=draw(drawn, focus), focus=focus, is_cut=len(steps) == STEPS_DRAWN),
        "timeline": visit.part("run_timeline.html", run=run, timeline=unroll(drawn, focus), focus=focus),
        "log": visit.part("run_log.html", lines=seen.lines, focus=focus, lines_max=LINES_SHOWN),
        "panel": visit.part(
            "run_panel.html",
            focus=focus,
            step=seen.chosen,
            group=_find_group(drawn, focus),
            members_max=MEMBERS_SHOWN,
            lines=_lines_of_step(seen),
        ),
        "payloads": visit.part("run_payloads.html", run=run, focus=focus),
    }


def _lines_of_step(seen: Seen) -> list[Line]:
    """What the chosen step has logged."""
    step = seen.chosen
    if step is None:
        return []
    return [line for line in seen.chosen_lines if (line.step_id, line.step_index) == (step.id, step.index)]


def _find_group(drawn: Grouped, focus: Focus) -> StepGroup | None:
    one = focus.chosen
    if one is None or not one.is_group:
        return None
    if one.run_id != drawn.run.id:
        return next((found for child in drawn.children.values() if (found := _find_group(child, focus))), None)
    wanted = (one.step_id, one.index)
    return next((group for group in drawn.groups if any((step.id, step.index) == wanted for step in group.steps)), None)
