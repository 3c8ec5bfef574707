"""What people do from the dashboard: cancel and replay runs, complete signals, pause functions, send events."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from rotor import telemetry
from rotor.dashboard.door import Forbidden, Visit
from rotor.dashboard.focus import run_id_of, step_of
from rotor.dashboard.templating import event_path, function_path
from rotor.errors import PayloadError
from rotor.protocol import json
from rotor.protocol.json import Raw
from rotor.store import cancellation, functions, replays, signals, waking
from rotor.store.checks import CANCEL_RUN, event_name_problem, name_problem
from rotor.store.intake import NewEvent
from rotor.store.problems import Invalid

__all__ = ["cancel", "complete_signal", "complete_waiting", "pause", "replay", "resume", "send_event", "wake"]


async def cancel(visit: Visit) -> Response:
    run_id = run_id_of(visit.request.path_params["run_id"])
    await cancellation.cancel(visit.store, visit.workspace_id, run_id)
    return RedirectResponse(f"/dashboard/runs/{run_id}", 303)


async def replay(visit: Visit) -> Response:
    run_id = run_id_of(visit.request.path_params["run_id"])
    new = await replays.replay(visit.store, visit.workspace_id, run_id)
    return RedirectResponse(f"/dashboard/runs/{new}", 303)


async def complete_signal(visit: Visit) -> Response:
    run_id = run_id_of(visit.request.path_params["run_id"])
    await _complete(visit)
    return RedirectResponse(f"/dashboard/runs/{run_id}", 303)


async def complete_waiting(visit: Visit) -> Response:
    await _complete(visit)
    return RedirectResponse("/dashboard/waiting", 303)


async def _complete(visit: Visit) -> None:
    signal_id = visit.form.get("signal", "")
    problem = name_problem(signal_id)
    if problem:
        raise Invalid([("signal", problem)])
    await signals.complete(visit.store, visit.workspace_id, signal_id, _data(visit))


async def wake(visit: Visit) -> Response:
    run_id = run_id_of(visit.request.path_params["run_id"])
    if not visit.in_development:
        raise Forbidden("a sleep is woken under `rotor dev` only: elsewhere a run sleeps for as long as it says")
    step_id, index = step_of(visit.form.get("step", ""), visit.form.get("index", ""))
    await waking.wake(visit.store, visit.workspace_id, run_id, step_id, index)
    return RedirectResponse(f"/dashboard/runs/{run_id}", 303)


async def pause(visit: Visit) -> Response:
    function = await functions.pause(visit.store.database, visit.workspace_id, _function_id(visit))
    return RedirectResponse(function_path(function.id), 303)


async def resume(visit: Visit) -> Response:
    function = await functions.resume(visit.store.database, visit.workspace_id, _function_id(visit))
    visit.store.changes.queued.set()
    return RedirectResponse(function_path(function.id), 303)


async def send_event(visit: Visit) -> Response:
    name = visit.form.get("name", "").strip()
    problem = event_name_problem(name)
    if name == CANCEL_RUN:
        problem = "is for the API; a run is cancelled on its page"
    if problem:
        raise Invalid([("name", problem)])
    (event_id,) = await visit.store.intake.accept(visit.workspace_id, [NewEvent(name, Raw(_data(visit)))])
    telemetry.EVENTS.inc()
    return RedirectResponse(event_path(event_id), 303)


def _function_id(visit: Visit) -> str:
    function_id = visit.form.get("function", "")
    problem = name_problem(function_id)
    if problem:
        raise Invalid([("function", problem)])
    return function_id


def _data(visit: Visit) -> bytes:
    """The JSON of the form's `data`. Raises `Invalid`."""
    try:
        data = visit.form.get("data", "").strip().encode()
        json.check(data, payload_bytes_max=visit.store.payload_bytes_max)
    except PayloadError as error:
        raise Invalid([("data", f"is not JSON that can be kept: {error}")]) from None
    return data
