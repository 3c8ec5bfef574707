"""Decide on a batch: arrival after arrival, each seeing what those before it decided.

The result is everything that one transaction has to write and everyone who has to be told once it is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import assert_never
from uuid import UUID

from msgspec.structs import replace

from rotor.engine.arrivals import (
    Arrival,
    Cancelled,
    ChildEnded,
    DeadlineReached,
    EventArrived,
    FromHolder,
    HolderLost,
    SignalArrived,
)
from rotor.engine.decision import Decision, Notice
from rotor.engine.effects import DropWait, Effect, PutSignal, PutStep, PutWait, ReleaseSignal
from rotor.engine.ending import cancel, lose
from rotor.engine.holding import hold
from rotor.engine.run import Known, Run, Signal, Step, StepKey, Wait
from rotor.engine.settling import settle
from rotor.engine.states import STEP_ENDED
from rotor.protocol.messages import DropRun

__all__ = ["Outcome", "decide_batch"]


@dataclass(slots=True)
class Outcome:
    """What a batch comes to."""

    runs: dict[UUID, Run]
    """Every run as it is to be."""
    changed: set[UUID] = field(default_factory=set)
    """The runs whose row differs."""
    steps: dict[StepKey, PutStep] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    """Everything but steps, in order."""
    notices: dict[tuple[UUID, UUID], list[Notice]] = field(default_factory=dict)
    """By (lease, run): what its holder is told."""
    resumed: set[tuple[UUID, UUID]] = field(default_factory=set)
    """The (lease, run) of those whose keeper goes on with them."""
    acted: list[bool] = field(default_factory=list)
    """Per arrival: whether it did anything."""
    places: list[tuple[UUID, UUID] | None] = field(default_factory=list)
    """Per arrival: the (lease, run) whose notices answer it; None: nobody asked."""


def decide_batch(
    runs: dict[UUID, Run], known: Known, arrivals: Iterable[Arrival], jitter: Callable[[], float]
) -> Outcome:
    """Fold `arrivals` over what is known, changing `runs` and `known`; `jitter` gives numbers in [0, 1)."""
    outcome = Outcome(runs)
    for arrival in arrivals:
        outcome.acted.append(_fold(outcome, known, arrival, jitter))
        outcome.places.append((arrival.lease_id, arrival.run_id) if type(arrival) is FromHolder else None)
    return outcome


def _fold(outcome: Outcome, known: Known, arrival: Arrival, jitter: Callable[[], float]) -> bool:
    run = outcome.runs.get(arrival.run_id)
    if (type(arrival) is FromHolder or type(arrival) is HolderLost) and _is_past(run, arrival):
        return False
    decision = _decide(run, arrival, known, jitter)
    if decision is None:
        return False
    _change(outcome, known, run, decision.run)
    if decision.notices:
        lease_id = arrival.lease_id if type(arrival) is FromHolder else _holder(run) or _holder(decision.run)
        if lease_id is not None:
            outcome.notices.setdefault((lease_id, arrival.run_id), []).extend(decision.notices)
    for effect in decision.effects:
        _apply(outcome, known, effect)
    for follower in decision.then:
        _fold(outcome, known, follower, jitter)
    return True


def _is_past(run: Run | None, arrival: FromHolder | HolderLost) -> bool:
    """Whether it came by an earlier connection of the worker that holds the run, which now speaks for it by another.

    Nobody is answered: what counts of it, the worker says again.
    """
    if arrival.connection is None or run is None or run.lease_id != arrival.lease_id:
        return False
    return run.connection != arrival.connection


def _change(outcome: Outcome, known: Known, before: Run | None, after: Run | None) -> None:
    """Record how a run is to be; whoever lets it go has room for another."""
    if before is None or after is None or before is after or before == after:
        return
    outcome.runs[after.id] = after
    outcome.changed.add(after.id)
    if before.lease_id == after.lease_id:
        return
    if before.lease_id is not None:
        known.room[before.lease_id] += 1
        outcome.resumed.discard((before.lease_id, before.id))
    if after.lease_id is not None:
        known.room[after.lease_id] -= 1
        place = after.lease_id, after.id
        outcome.resumed.add(place)
        if place in outcome.notices:  # who said something late while nobody held the run goes on with it all the same
            outcome.notices[place] = [notice for notice in outcome.notices[place] if not isinstance(notice, DropRun)]


def _holder(run: Run | None) -> UUID | None:
    return None if run is None else run.lease_id


def _decide(run: Run | None, arrival: Arrival, known: Known, jitter: Callable[[], float]) -> Decision | None:
    match arrival:
        case FromHolder():
            return hold(run, arrival, known, jitter())
        case DeadlineReached() | EventArrived() | SignalArrived() | ChildEnded():
            return settle(run, arrival, known)
        case HolderLost():
            return lose(run, arrival, jitter())
        case Cancelled():
            return cancel(run, arrival)
        case _:
            assert_never(arrival)


def _apply(outcome: Outcome, known: Known, effect: Effect) -> None:
    """Record an effect, and let the arrivals after it see it."""
    match effect:
        case PutStep():
            _put_step(outcome, known, effect)
            return
        case PutWait(key=key, topic=topic):
            known.parked[key.run_id] += key not in known.waits
            known.waits[key] = Wait(topic)
            known.settled.discard(key.run_id)
        case DropWait(key=key):
            known.parked[key.run_id] -= key in known.waits
            known.waits.pop(key, None)
        case PutSignal(workspace_id=workspace_id, signal_id=signal_id, waiter=waiter, delivered=delivered):
            before = known.signals.get((workspace_id, signal_id))
            data = before.data if before and delivered else None
            known.signals[workspace_id, signal_id] = Signal(waiter, data, delivered, expired=False)
        case ReleaseSignal(workspace_id=workspace_id, signal_id=signal_id):
            before = known.signals.pop((workspace_id, signal_id), None)
            if before is not None and before.data is not None:  # it came, and nobody takes it: it is kept
                known.signals[workspace_id, signal_id] = replace(before, waiter=None)
        case _:
            pass
    outcome.effects.append(effect)


def _put_step(outcome: Outcome, known: Known, put: PutStep) -> None:
    """The last change of a step in the batch stands, with what those before it said; one that has ended stays so."""
    step = known.steps.get(put.key)
    if step is not None and step.status in STEP_ENDED:
        return
    before = outcome.steps.get(put.key)
    if before is not None:
        put = replace(
            put,
            child_run_id=put.child_run_id or before.child_run_id,
            waits_for=put.waits_for or before.waits_for,
            seconds=before.seconds if put.seconds is None else put.seconds,
            until=put.until or before.until,
        )
    if put.status not in STEP_ENDED:
        known.settled.discard(put.key.run_id)
    outcome.steps[put.key] = put
    known.steps[put.key] = Step(put.op, put.status, put.attempts, put.child_run_id)
    if put.op == "wait_for_event" and put.event_id is not None:
        known.taken.add((put.key.run_id, put.event_id))
