"""A parked step takes the first of its deadline and its message, and its run goes on."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace

from rotor.engine.arrivals import ChildEnded, DeadlineReached, EventArrived, SignalArrived
from rotor.engine.effects import CancelRun, DropWait, PutSignal, ReleaseSignal
from rotor.engine.run import Known, Run, Signal, Step, Wait
from rotor.protocol.messages import Memo, RunStatus
from tests import messages
from tests.engine.cases import CHILD, LEASE, PARENT, RUN, around, decide, held, key, told, waiting

DUE = Wait(None, due=True)


def parked(op: str, topic: str | None, *, child: bool = False, due: bool = True, **others: object) -> Known:
    step = Step(op, "waiting", 0, CHILD if child else None)  # type: ignore[arg-type]
    return around(("w", step, Wait(topic, due)), **others)  # type: ignore[arg-type]


def test_a_sleep_is_over_at_its_deadline_and_its_run_is_due() -> None:
    outcome = decide(waiting(), DeadlineReached(key("w")), known=parked("sleep", None))

    assert outcome.steps[key("w")].status == "completed"
    assert outcome.effects == [DropWait(key("w"))]
    run = outcome.runs[RUN]
    assert (run.status, run.due_seconds, run.settled) == ("queued", 0, 1)


def test_a_held_run_goes_on_where_it_is_and_its_holder_is_told() -> None:
    outcome = decide(held(settled=4), DeadlineReached(key("w")), known=parked("sleep", None))

    assert (outcome.runs[RUN].status, outcome.runs[RUN].settled) == ("running", 5)
    (memo,) = told(outcome)
    assert isinstance(memo, Memo)
    assert (memo.id, memo.status) == ("w", "completed")


def keeping(room: int) -> Known:
    """The holder of `LEASE` keeps the body of the run that sleeps, and has room for so many."""
    return replace(parked("sleep", None), resumable=frozenset([RUN]), room=Counter({LEASE: room}))


def test_whoever_keeps_the_body_of_a_run_that_wakes_goes_on_with_it_at_once() -> None:
    outcome = decide(waiting(kept_by=LEASE), DeadlineReached(key("w")), known=keeping(room=1))

    run = outcome.runs[RUN]
    assert (run.status, run.lease_id, run.kept_by, run.settled) == ("running", LEASE, None, 1)
    assert outcome.resumed == {(LEASE, RUN)}
    assert [memo.id for memo in told(outcome)] == ["w"]


def test_a_run_whose_keeper_has_no_room_waits_for_its_turn() -> None:
    outcome = decide(waiting(kept_by=LEASE), DeadlineReached(key("w")), known=keeping(room=0))

    assert (outcome.runs[RUN].status, outcome.runs[RUN].kept_by, outcome.resumed) == ("queued", LEASE, set())


def test_a_keeper_is_given_no_more_runs_than_it_has_room_for() -> None:
    other = waiting(id=PARENT, kept_by=LEASE)
    known = keeping(room=1)
    known.steps[key("w", run_id=PARENT)], known.waits[key("w", run_id=PARENT)] = known.steps[key("w")], DUE
    known = replace(known, resumable=frozenset([RUN, PARENT]))
    arrivals = DeadlineReached(key("w")), DeadlineReached(key("w", run_id=PARENT))
    outcome = decide([waiting(kept_by=LEASE), other], *arrivals, known=known)

    assert (outcome.runs[RUN].status, outcome.runs[PARENT].status) == ("running", "queued")


def test_a_run_that_was_resumed_and_is_told_of_more_in_one_batch_is_told_of_all_of_it() -> None:
    known = keeping(room=1)
    known.steps[key("v")], known.waits[key("v")] = Step("sleep", "waiting", 0), DUE
    outcome = decide(waiting(kept_by=LEASE), DeadlineReached(key("w")), DeadlineReached(key("v")), known=known)

    assert [memo.id for memo in told(outcome)] == ["w", "v"]
    assert (outcome.runs[RUN].status, outcome.runs[RUN].settled) == ("running", 2)


def test_a_keeper_that_parks_a_run_twice_and_goes_on_with_it_in_one_batch_is_not_told_to_drop_it() -> None:
    again, due = messages.parked(RUN, kept=True), DeadlineReached(key("w"))
    outcome = decide(waiting(kept_by=LEASE), again, due, known=keeping(room=1))

    assert outcome.resumed == {(LEASE, RUN)}
    assert [type(notice) for notice in told(outcome)] == [Memo]


def test_a_run_that_is_due_later_is_not_called_earlier() -> None:
    queued = held(status="queued", lease_id=None)
    outcome = decide(queued, DeadlineReached(key("w")), known=parked("sleep", None))

    assert outcome.runs[RUN].due_seconds is None


def test_a_backoff_that_is_over_lets_the_step_be_tried_again() -> None:
    outcome = decide(waiting(), DeadlineReached(key("a")), known=around(("a", Step("run", "retrying", 2), DUE)))

    assert (outcome.steps[key("a")].status, outcome.steps[key("a")].attempts) == ("retrying", 2)


@pytest.mark.parametrize(
    ("op", "topic"), [("wait_for_event", "event:opened"), ("wait_for_signal", "signal:s"), ("invoke", "child")]
)
def test_a_wait_for_a_message_times_out_at_its_deadline(op: str, topic: str) -> None:
    outcome = decide(waiting(), DeadlineReached(key("w")), known=parked(op, topic))

    assert outcome.steps[key("w")].status == "timed_out"


def test_the_child_of_a_wait_that_timed_out_is_cancelled() -> None:
    outcome = decide(waiting(), DeadlineReached(key("w")), known=parked("invoke", "child", child=True))

    assert CancelRun(CHILD) in outcome.effects
    assert outcome.steps[key("w")].child_run_id == CHILD


def test_a_signal_whose_wait_timed_out_is_free() -> None:
    row = Signal(waiter=key("w"), data=None, delivered=False, expired=False)
    known = parked("wait_for_signal", "signal:s", signals={"s": row})
    outcome = decide(waiting(), DeadlineReached(key("w")), known=known)

    assert ReleaseSignal(1, "s") in outcome.effects


def test_a_signal_that_came_before_the_deadline_is_delivered_though_the_timer_is_first() -> None:
    row = Signal(waiter=key("w"), data=b"1", delivered=False, expired=False)
    known = parked("wait_for_signal", "signal:s", signals={"s": row})
    outcome = decide(waiting(), DeadlineReached(key("w")), SignalArrived(key("w"), "s"), known=known)

    assert (outcome.steps[key("w")].status, outcome.steps[key("w")].output) == ("completed", b"1")
    assert PutSignal(1, "s", key("w"), delivered=True) in outcome.effects
    assert outcome.acted == [True, False]


def test_a_deadline_that_was_meant_for_an_earlier_wait_of_the_step_does_nothing() -> None:
    known = around(("a", Step("run", "retrying", 2), Wait(None, due=False)))
    outcome = decide(held(), DeadlineReached(key("a")), known=known)

    assert outcome.acted == [False]
    assert not outcome.steps


def test_an_event_is_the_result_of_its_wait() -> None:
    outcome = decide(
        waiting(), EventArrived(key("w"), "e-1", b'{"id":"e-1"}', 1), known=parked("wait_for_event", "event:opened")
    )

    put = outcome.steps[key("w")]
    assert (put.status, put.output, put.event_id) == ("completed", b'{"id":"e-1"}', "e-1")
    assert outcome.runs[RUN].status == "queued"


def test_one_event_is_taken_by_one_wait_of_a_run() -> None:
    wait = Wait("event:opened")
    known = around(
        ("first", Step("wait_for_event", "waiting", 0), wait), ("second", Step("wait_for_event", "waiting", 0), wait)
    )
    outcome = decide(
        waiting(),
        EventArrived(key("first"), "e-1", b"{}", 1),
        EventArrived(key("second"), "e-1", b"{}", 1),
        EventArrived(key("second"), "e-2", b"{}", 1),
        known=known,
    )

    assert outcome.acted == [True, False, True]
    assert outcome.steps[key("second")].event_id == "e-2"


def test_an_event_that_an_earlier_wait_took_is_not_taken_again() -> None:
    known = parked("wait_for_event", "event:opened")
    known.taken.add((RUN, "e-1"))

    assert decide(waiting(), EventArrived(key("w"), "e-1", b"{}", 1), known=known).acted == [False]


def test_a_signal_is_delivered_once() -> None:
    row = Signal(waiter=key("w"), data=b"1", delivered=False, expired=False)
    known = parked("wait_for_signal", "signal:s", signals={"s": row})
    outcome = decide(waiting(), SignalArrived(key("w"), "s"), SignalArrived(key("w"), "s"), known=known)

    assert outcome.acted == [True, False]


@pytest.mark.parametrize(
    "row",
    [
        None,
        Signal(waiter=key("w"), data=None, delivered=False, expired=False),
        Signal(waiter=key("w"), data=b"1", delivered=True, expired=False),
        Signal(waiter=key("other"), data=b"1", delivered=False, expired=False),
    ],
    ids=["no signal", "not completed", "delivered", "another's"],
)
def test_a_signal_that_is_not_there_for_the_wait_does_nothing(row: Signal | None) -> None:
    known = parked("wait_for_signal", "signal:s", signals={"s": row} if row else None)

    assert decide(waiting(), SignalArrived(key("w"), "s"), known=known).acted == [False]


@pytest.mark.parametrize(
    ("status", "expected"), [("completed", "completed"), ("failed", "failed"), ("cancelled", "failed")]
)
def test_the_end_of_a_child_is_the_result_of_its_wait(status: RunStatus, expected: str) -> None:
    arrival = ChildEnded(
        key("w"),
        CHILD,
        status,
        b"1" if status == "completed" else None,
        b'{"name":"E","message":"m"}' if status == "failed" else None,
    )
    outcome = decide(waiting(), arrival, known=parked("invoke", "child", child=True))

    put = outcome.steps[key("w")]
    assert (put.status, put.output, put.child_run_id) == (expected, arrival.output, CHILD)
    if status == "cancelled":
        assert b"WorkflowCancelledError" in (put.error or b"")


@pytest.mark.parametrize(
    "run",
    [held(status="completed", lease_id=None), held(status="cancelled", lease_id=None)],
    ids=lambda run: str(run.status),
)
def test_what_comes_after_the_end_of_a_run_does_nothing(run: Run) -> None:
    assert decide(run, DeadlineReached(key("w")), known=parked("sleep", None)).acted == [False]


def test_what_comes_after_the_end_of_a_wait_does_nothing() -> None:
    known = around(("w", Step("sleep", "completed", 0), None))

    assert decide(waiting(), DeadlineReached(key("w")), known=known).acted == [False]


def test_a_run_that_is_being_cancelled_is_not_woken() -> None:
    outcome = decide(waiting(cancelling=True), DeadlineReached(key("w")), known=parked("sleep", None))

    assert outcome.runs[RUN].status == "waiting"
