"""The tables of status changes are the whole truth: the database names the same, and no decision leaves them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from typing import get_args
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
from rotor.engine.batch import Outcome, decide_batch
from rotor.engine.effects import Emit, PutSignal, PutWait, StartChild
from rotor.engine.run import Known, Run, Signal, Step, StepKey, Wait
from rotor.engine.states import RUN_CHANGES, RUN_ENDED, STEP_CHANGES, STEP_ENDED
from rotor.protocol.messages import RunMessage, RunStatus, StepOp, StepStatus
from tests import messages
from tests.engine.cases import CHILD, LEASE, OTHER_LEASE, PARENT, RUN, held, says

# --- against the database


def checked(constraint: str) -> set[str]:
    """The words that a CHECK of the schema allows."""
    schema = files("rotor.store").joinpath("migrations", "0001_initial.sql").read_text(encoding="utf-8")
    found = re.search(rf"CONSTRAINT {constraint}\s+CHECK \(\(*VALUE[).\w]* IN \(([^)]*)\)", schema)
    assert found is not None
    return set(re.findall(r"'(\w+)'", found[1]))


def test_the_database_knows_the_same_statuses_of_runs() -> None:
    assert checked("runs_status") == set(RUN_CHANGES) == set(get_args(RunStatus))


def test_the_database_knows_the_same_statuses_and_operations_of_steps() -> None:
    assert checked("steps_status") == set(STEP_CHANGES) == set(get_args(StepStatus))
    assert checked("steps_op") == set(get_args(StepOp))


def test_the_database_and_the_tables_agree_on_what_has_ended() -> None:
    assert checked("runs_ended_has_end") == RUN_ENDED == {status for status, to in RUN_CHANGES.items() if not to}
    assert checked("steps_ended_has_end") == STEP_ENDED == {status for status, to in STEP_CHANGES.items() if not to}


@pytest.mark.parametrize("changes", [RUN_CHANGES, STEP_CHANGES], ids=["runs", "steps"])
def test_every_change_leads_to_a_status_and_says_why(changes: dict[str, dict[str, str]]) -> None:
    for leads_to in changes.values():
        assert set(leads_to) <= set(changes)
        assert all(reason.strip() for reason in leads_to.values())


# --- against the decisions
# A parent that invokes, its child, and a run of its own; each with a step of every kind.

OTHER = UUID(int=4)
RUNS = (RUN, PARENT, CHILD)
OPS: dict[str, StepOp] = {
    "work": "run",
    "nap": "sleep",
    "event": "wait_for_event",
    "gate": "wait_for_signal",
    "call": "invoke",
    "tell": "send_event",
}
TOPICS = {"event": "event:opened", "gate": "signal:s", "call": "child"}
CALL = StepKey(PARENT, "call", 0)


@dataclass
class World:
    runs: dict[UUID, Run]
    known: Known


@st.composite
def worlds(draw: st.DrawFn) -> World:
    resumable, room = draw(st.frozensets(st.sampled_from(RUNS))), Counter({OTHER_LEASE: draw(st.integers(0, 2))})
    runs, known = {}, Known(functions=frozenset({(1, "child")}), resumable=resumable, room=room)
    for run_id in RUNS:
        status = draw(st.sampled_from([*sorted(RUN_CHANGES), *["running"] * 9]))
        cancelling = status == "running" and draw(st.booleans())
        runs[run_id] = held(
            id=run_id,
            status=status,
            lease_id=LEASE if status == "running" else None,
            cancelling=cancelling,
            settled=draw(st.integers(0, 1)),
            losses=draw(st.integers(0, 4)),
            parent=CALL if run_id == CHILD else None,
            kept_by=OTHER_LEASE if status in ("queued", "waiting") else None,
        )
        for step_id, op in OPS.items() if draw(st.booleans()) else ():
            step_status = draw(st.sampled_from([None, *possible(op, ended=runs[run_id].ended)]))
            if step_status is None:
                continue
            key = StepKey(run_id, step_id, 0)
            known.steps[key] = Step(op, step_status, draw(st.integers(0, 3)), CHILD if key == CALL else None)
            if step_status == "waiting" or (step_status == "retrying" and draw(st.booleans())):
                known.waits[key] = Wait(TOPICS.get(step_id), due=draw(st.booleans()))
        if status == "waiting" and not any(key.run_id == run_id for key in known.waits):
            known.steps[StepKey(run_id, "nap", 0)] = Step("sleep", "waiting", 0)
            known.waits[StepKey(run_id, "nap", 0)] = Wait(None, due=draw(st.booleans()))
    waiters = [key for key in known.waits if key.id == "gate"][:1]
    if waiters or draw(st.booleans()):
        data = draw(st.sampled_from([None, b"1"])) if waiters else b"1"
        known.signals[1, "s"] = Signal(waiters[0] if waiters else None, data, delivered=False, expired=False)
    known.parked.update(key.run_id for key in known.waits)
    return World(runs, known)


def possible(op: StepOp, *, ended: bool) -> list[StepStatus]:
    """The statuses in which a step of this kind can be, in a run that has ended or not."""
    begun: list[StepStatus] = ["running", "retrying"] if op == "run" else ["waiting"] if op != "send_event" else []
    return sorted(STEP_ENDED) if ended else [*begun, *sorted(STEP_ENDED)]


@st.composite
def arrivals(draw: st.DrawFn) -> Arrival:
    """Mostly steps of held runs, now and then something that ends a run or takes it from its holder."""
    run_id = draw(st.sampled_from(RUNS))
    key = StepKey(run_id, draw(st.sampled_from(sorted(OPS))), 0)
    lease_id = draw(st.sampled_from([LEASE] * 9 + [OTHER_LEASE]))
    match draw(st.sampled_from("sssssssssppwwdddeegcclx")):
        case "s":
            message = step_message(draw, key)
        case "p":
            message = messages.parked(run_id, draw(st.integers(0, 1)), kept=draw(st.booleans()))
        case "w":
            message = messages.withdrawn(run_id, key.id)
        case "d":
            return DeadlineReached(key)
        case "e":
            return EventArrived(StepKey(run_id, "event", 0), draw(st.sampled_from(["e-1", "e-2"])), b"{}", 1)
        case "g":
            return SignalArrived(StepKey(run_id, "gate", 0), "s")
        case "c":
            return ChildEnded(CALL, CHILD, draw(st.sampled_from(sorted(RUN_ENDED))), None, None)
        case "l":
            return draw(st.sampled_from([HolderLost(run_id, lease_id), Cancelled(run_id)]))
        case _:
            end = draw(st.sampled_from([messages.completed, messages.body_failed, messages.stopped, messages.released]))
            message = end(run_id)
    return says(message, lease_id=lease_id, can_go_on=draw(st.booleans()))


def step_message(draw: st.DrawFn, key: StepKey) -> RunMessage:
    run_id, attempts = key.run_id, draw(st.integers(1, 4))
    match key.id:
        case "work":
            return draw(
                st.sampled_from(
                    [
                        messages.started(run_id, "work", attempts=attempts),
                        messages.done(run_id, "work"),
                        messages.failed(run_id, "work", attempts=attempts),
                    ]
                )
            )
        case "nap":
            return messages.sleeps(run_id, "nap")
        case "event":
            return messages.awaits_event(run_id, "event", "opened")
        case "gate":
            return messages.awaits_signal(run_id, "gate", "s")
        case "call":
            return messages.invokes(run_id, "call", draw(st.sampled_from(["child", "unknown"])))
        case _:
            return messages.emitted(run_id, "tell", "told")


def decide_one(world: World, arrival: Arrival) -> Outcome:
    return decide_batch(world.runs, world.known, [arrival], lambda: 0.5)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(worlds(), st.lists(arrivals(), min_size=6, max_size=14))
def test_whatever_happens_to_whatever_runs_no_decision_leaves_the_tables(
    world: World, happening: list[Arrival]
) -> None:
    for arrival in happening:
        runs_before, steps_before = dict(world.runs), dict(world.known.steps)
        outcome = decide_one(world, arrival)
        for run_id, before in runs_before.items():
            after = world.runs[run_id]
            assert after == before or after.status == before.status or after.status in RUN_CHANGES[before.status]
            assert after == before or not before.ended
        for key, put in outcome.steps.items():
            if key in steps_before:
                assert put.status in STEP_CHANGES[steps_before[key].status]
                assert put.op == steps_before[key].op
        assert_only_holders_are_heard(outcome, arrival, runs_before)
        assert_cancelling_runs_begin_nothing(outcome, runs_before)
        assert_all_that_waits_can_wake(world)


def assert_only_holders_are_heard(outcome: Outcome, arrival: Arrival, before: dict[UUID, Run]) -> None:
    if isinstance(arrival, FromHolder) and before[arrival.run_id].lease_id != arrival.lease_id:
        assert not outcome.changed
        assert not outcome.steps
        assert not outcome.effects


def assert_cancelling_runs_begin_nothing(outcome: Outcome, before: dict[UUID, Run]) -> None:
    for effect in outcome.effects:
        match effect:
            case PutWait(key=key) | StartChild(parent=key):
                assert not before[key.run_id].cancelling
            case PutSignal(waiter=key, delivered=False):
                assert not before[key.run_id].cancelling
            case Emit():
                assert not any(before[key.run_id].cancelling for key in outcome.steps)
            case _:
                pass


def assert_all_that_waits_can_wake(world: World) -> None:
    counted = Counter(key.run_id for key in world.known.waits)
    for run in world.runs.values():
        # A run that ends closes its steps and waits where it is written.
        if not run.ended:
            assert world.known.parked[run.id] == counted[run.id]
            assert run.status != "waiting" or run.cancelling or counted[run.id]
            assert (run.status == "running") == (run.lease_id is not None)
