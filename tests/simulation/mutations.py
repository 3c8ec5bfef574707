"""Faults of the engine, put in on purpose: the simulation must find each of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, TypeAlias

import pytest
from msgspec.structs import replace

from rotor.engine import batch, holding, stepping
from rotor.engine.arrivals import Arrival, FromHolder
from rotor.engine.effects import CancelChildren, DropWait, Emit, ReleaseSignal
from rotor.engine.run import Known, Run
from rotor.protocol.messages import RunParked, StepDone, StepFailed, StepParked, StepWithdrawn
from tests.simulation.world import World

__all__ = ["MUTATIONS"]

Change: TypeAlias = Callable[[Run | None, Any, Known], tuple[Run | None, Any, Known]]


def asked(kind: str, change: Change) -> Callable[[pytest.MonkeyPatch], None]:
    """The engine's function `kind` is asked about something else than what there is."""

    def put_in(patch: pytest.MonkeyPatch) -> None:
        right = getattr(batch, kind)

        def wrong(run: Run | None, arrival: Arrival, known: Known, *rest: float) -> Any:
            return right(*change(run, arrival, known), *rest)

        patch.setattr(batch, kind, wrong)

    return put_in


def decides(kind: str, change: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """What the engine's function `kind` decides is changed."""

    def put_in(patch: pytest.MonkeyPatch) -> None:
        right = getattr(batch, kind)

        def wrong(*arguments: Any) -> Any:
            decision = right(*arguments)
            return decision if decision is None else change(decision)

        patch.setattr(batch, kind, wrong)

    return put_in


def no_fence(run: Run | None, arrival: Any, known: Known) -> tuple[Run | None, Any, Known]:
    return (run if run is None or run.ended else replace(run, lease_id=arrival.lease_id)), arrival, known


def forgets(*kinds: type) -> Change:
    """Messages of these kinds are decided on as if nothing were recorded of their steps."""

    def change(run: Run | None, arrival: FromHolder, known: Known) -> tuple[Run | None, FromHolder, Known]:
        if isinstance(arrival.message, kinds):
            known = Known(signals=known.signals, functions=known.functions, parked=known.parked)
        return run, arrival, known

    return change


def all_due(run: Run | None, arrival: Any, known: Known) -> tuple[Run | None, Any, Known]:
    wait = known.waits.get(arrival.key)
    if wait is not None:
        known.waits[arrival.key] = replace(wait, due=True)
    return run, arrival, known


def nothing_taken(run: Run | None, arrival: Any, known: Known) -> tuple[Run | None, Any, Known]:
    known.taken.clear()
    return run, arrival, known


def nothing_delivered(run: Run | None, arrival: Any, known: Known) -> tuple[Run | None, Any, Known]:
    for key, signal in known.signals.items():
        known.signals[key] = replace(signal, delivered=False, waiter=None)
    return run, arrival, known


def nothing_early(run: Run | None, arrival: Any, known: Known) -> tuple[Run | None, Any, Known]:
    for key, signal in known.signals.items():
        known.signals[key] = replace(signal, data=None)
    return run, arrival, known


def not_cancelling(run: Run | None, arrival: Any, known: Known) -> tuple[Run | None, Any, Known]:
    return (None if run is None else replace(run, cancelling=False)), arrival, known


def always_told(run: Run | None, arrival: Any, known: Known) -> tuple[Run | None, Any, Known]:
    if run is not None and isinstance(arrival.message, RunParked):
        known.parked[run.id] += 1
        arrival = replace(arrival, message=replace(arrival.message, settled=run.settled))
    return run, arrival, known


def without_backoff(patch: pytest.MonkeyPatch) -> None:
    for module in (stepping, holding):
        patch.setattr(module, "delay", lambda failures, *, jitter: timedelta())


def stays_waiting(decision: Any) -> Any:
    if decision.run.status == "queued" and decision.run.due_seconds == 0:
        return replace(decision, run=replace(decision.run, status="waiting", due_seconds=None))
    return decision


def without(*kinds: type) -> Callable[[Any], Any]:
    return lambda decision: replace(
        decision, effects=[effect for effect in decision.effects if not isinstance(effect, kinds)]
    )


def without_cancelling_children(patch: pytest.MonkeyPatch) -> None:
    """The rescuer would find them all the same: it sleeps."""
    for kind in ("cancel", "hold", "lose"):
        decides(kind, without(CancelChildren))(patch)
    patch.setattr(World, "_orphans", lambda world: [])


def nothing_past(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(batch, "_is_past", lambda run, arrival: False)


MUTATIONS: Final[dict[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "who lost its lease may write": asked("hold", no_fence),
    "a holder that has come back writes by an earlier connection": nothing_past,
    "a failure that is told twice counts twice": asked("hold", forgets(StepFailed)),
    "an event that is sent twice is emitted twice": asked("hold", forgets(StepDone)),
    "a wait that is told twice is registered twice": asked("hold", forgets(StepParked)),
    "a wait that is given up stays": asked("hold", forgets(StepWithdrawn)),
    "a deadline fires early": asked("settle", all_due),
    "one event goes to two waits": asked("settle", nothing_taken),
    "one signal goes to two waits": asked("hold", nothing_delivered),
    "a signal that came early is thrown away": asked("hold", nothing_early),
    "a signal is kept for who has timed out": decides("settle", without(ReleaseSignal)),
    "an event that a step sends is lost": decides("hold", without(Emit)),
    "a cancellation is forgotten": asked("hold", not_cancelling),
    "a run is let go that has news": asked("hold", always_told),
    "what failed is tried again at once": without_backoff,
    "a wait that ends wakes nobody": decides("settle", stays_waiting),
    "a wait that ended is still there": decides("settle", without(DropWait)),
    "a loss uses up a try": decides(
        "lose", lambda decision: replace(decision, run=replace(decision.run, attempt=decision.run.attempt + 1))
    ),
    "a loss is the end": decides(
        "lose", lambda decision: replace(decision, run=replace(decision.run, status="running", due_seconds=None))
    ),
    "the end of a child is not told": decides("hold", lambda decision: replace(decision, then=[])),
    "children of cancelled runs go on": without_cancelling_children,
}
"""By what goes wrong."""
