"""A batch is decided arrival by arrival: each sees what those before it decided."""

from __future__ import annotations

from uuid import UUID

import pytest

from rotor.engine.arrivals import Cancelled, DeadlineReached, FromHolder, HolderLost
from rotor.engine.effects import DropWait, PutWait
from rotor.engine.run import Known, Run, Step, StepKey, Wait
from rotor.protocol.messages import DropRun, Memo, RunMessage
from tests import messages
from tests.engine.cases import (
    CHILD,
    LEASE,
    OTHER_LEASE,
    PARENT,
    RUN,
    around,
    decide,
    held,
    key,
    says,
    told,
    waiting,
)

CALL = StepKey(PARENT, "sub", 0)


def parent(**changes: object) -> Run:
    return waiting(id=PARENT, **changes) if "lease_id" not in changes else held(id=PARENT, **changes)


def child(**changes: object) -> Run:
    return held(id=CHILD, parent=CALL, **changes)


def call_is_parked() -> Known:
    known = Known(steps={CALL: Step("invoke", "waiting", 0, CHILD)}, waits={CALL: Wait("child")})
    known.parked[PARENT] = 1
    return known


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (messages.completed(CHILD, "out"), "completed"),
        (messages.body_failed(CHILD, retriable=False), "failed"),
    ],
    ids=["returned", "raised"],
)
def test_the_end_of_a_child_wakes_its_parent_in_the_same_batch(message: RunMessage, status: str) -> None:
    outcome = decide([parent(), child()], message, known=call_is_parked())

    assert outcome.steps[CALL].status == status
    assert outcome.runs[PARENT].status == "queued"
    assert outcome.changed == {CHILD, PARENT}


def test_the_holder_of_a_parent_is_told_of_its_childs_end() -> None:
    outcome = decide([parent(lease_id=OTHER_LEASE), child()], messages.completed(CHILD, "out"), known=call_is_parked())

    (memo,) = told(outcome, OTHER_LEASE, PARENT)
    assert isinstance(memo, Memo)
    assert (memo.status, bytes(memo.output), memo.child_run_id) == ("completed", b'"out"', str(CHILD))


@pytest.mark.parametrize("arrival", [Cancelled(CHILD), HolderLost(CHILD, LEASE)], ids=["cancelled", "lost"])
def test_a_parent_hears_of_a_child_that_ends_by_no_doing_of_its_own(arrival: Cancelled | HolderLost) -> None:
    lost = child(losses=4) if isinstance(arrival, HolderLost) else child(status="queued", lease_id=None)
    outcome = decide([parent(), lost], arrival, known=call_is_parked())

    assert outcome.steps[CALL].status == "failed"


def test_a_parent_that_has_ended_is_left_alone() -> None:
    outcome = decide(
        [held(id=PARENT, status="cancelled", lease_id=None), child()],
        messages.completed(CHILD),
        known=call_is_parked(),
    )

    assert outcome.changed == {CHILD}
    assert not outcome.steps


def test_of_a_childs_end_and_its_parents_timeout_the_first_counts() -> None:
    known = call_is_parked()
    known.waits[CALL] = Wait("child", due=True)
    outcome = decide([parent(), child()], messages.completed(CHILD, 1), DeadlineReached(CALL), known=known)

    assert outcome.steps[CALL].status == "completed"
    assert outcome.acted == [True, False]


def test_a_run_that_was_lost_in_the_batch_hears_no_more_of_its_holder() -> None:
    outcome = decide(held(), HolderLost(RUN, LEASE), messages.done(RUN, "late"))

    assert not outcome.steps
    assert [type(notice) for notice in told(outcome)] == [DropRun]


@pytest.mark.parametrize(
    "arrival",
    [
        says(messages.done(RUN, "a"), connection=1),
        says(messages.released(RUN), connection=1),
        HolderLost(RUN, LEASE, unreached_seconds=0, connection=1),
    ],
    ids=["a result", "a release", "a loss"],
)
def test_what_comes_by_an_earlier_connection_of_the_holder_is_past(arrival: FromHolder | HolderLost) -> None:
    for connection in (2, None):  # it has come back, or its lease was taken
        outcome = decide(held(connection=connection), arrival)
        assert (outcome.acted, outcome.changed, outcome.steps, told(outcome)) == ([False], set(), {}, [])

    assert decide(held(connection=1), arrival).acted == [True]


def test_one_that_lost_the_run_is_told_so_by_whichever_connection() -> None:
    outcome = decide(held(lease_id=OTHER_LEASE, connection=3), says(messages.done(RUN, "a"), connection=1))

    assert [type(notice) for notice in told(outcome)] == [DropRun]


def test_a_wait_that_parks_and_is_given_up_leaves_its_step_with_what_both_said() -> None:
    outcome = decide(held(), messages.awaits_event(RUN, "w", "opened", seconds=60), messages.withdrawn(RUN, "w"))

    put = outcome.steps[key("w")]
    assert (put.status, put.waits_for, put.seconds) == ("cancelled", "event:opened", 60)
    assert [type(effect) for effect in outcome.effects] == [PutWait, DropWait]


def test_runs_of_one_batch_are_told_apart() -> None:
    other = UUID(int=99)
    first, second = messages.done(RUN, "a"), messages.done(other, "a")
    outcome = decide([held(), held(id=other, lease_id=OTHER_LEASE)], first, says(second, lease_id=OTHER_LEASE))

    assert told(outcome) == [first.n]
    assert told(outcome, OTHER_LEASE, other) == [second.n]
    assert outcome.places == [(LEASE, RUN), (OTHER_LEASE, other)]


def test_a_run_that_does_not_change_is_not_written() -> None:
    outcome = decide(held(), messages.done(RUN, "a"), messages.sleeps(RUN, "b"))

    assert not outcome.changed


def test_a_deadline_and_a_parking_in_one_batch_go_on_with_the_holder() -> None:
    known = around(("nap", Step("sleep", "waiting", 0), Wait(None, due=True)))
    outcome = decide(held(), DeadlineReached(key("nap")), messages.parked(RUN, settled=0), known=known)

    assert outcome.runs[RUN].status == "running"
    assert [type(notice) for notice in told(outcome)] == [Memo]


def test_a_parking_and_a_deadline_in_one_batch_leave_the_run_due() -> None:
    known = around(("nap", Step("sleep", "waiting", 0), Wait(None, due=True)))
    outcome = decide(held(), messages.parked(RUN, settled=0), DeadlineReached(key("nap")), known=known)

    run = outcome.runs[RUN]
    assert (run.status, run.lease_id, run.due_seconds) == ("queued", None, 0)
