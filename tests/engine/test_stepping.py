"""What a holder says of a step is done once, however often it is said."""

from __future__ import annotations

from uuid import UUID

import pytest

from rotor import limits
from rotor.engine.effects import (
    CancelRun,
    DropWait,
    Emit,
    PutSignal,
    PutWait,
    ReleaseSignal,
    StartChild,
)
from rotor.engine.run import Signal, Step, Wait
from rotor.protocol import json
from rotor.protocol.messages import Memo, StepParked
from tests import messages
from tests.engine.cases import BEGINNING, CHILD, FRESH, RUN, around, decide, held, key, told


def error_name(error: bytes | None) -> str:
    assert error is not None
    return str(json.decode(error)["name"])


# --- results


def test_a_result_is_recorded_and_acknowledged() -> None:
    message = messages.done(RUN, "a", 42)
    outcome = decide(held(), message)

    put = outcome.steps[key("a")]
    assert (put.status, put.output, put.attempts) == ("completed", b"42", 1)
    assert told(outcome) == [message.n]


def test_a_step_that_has_ended_in_the_batch_does_not_change_again() -> None:
    outcome = decide(held(), messages.done(RUN, "a", 1), messages.done(RUN, "a", 2))

    assert outcome.steps[key("a")].output == b"1"


def test_uses_of_one_id_are_steps_of_their_own() -> None:
    outcome = decide(held(), messages.done(RUN, "a", 1), messages.done(RUN, "a", 2, index=1))

    assert [outcome.steps[key("a", index)].output for index in (0, 1)] == [b"1", b"2"]


def test_a_step_that_has_begun_is_shown_and_needs_no_answer() -> None:
    outcome = decide(held(), messages.started(RUN, "a", attempts=2))

    assert (outcome.steps[key("a")].status, outcome.steps[key("a")].attempts) == ("running", 2)
    assert told(outcome) == []


def test_a_step_that_must_be_known_to_have_begun_is_acknowledged() -> None:
    assert told(decide(held(), messages.started(RUN, "a", n=7))) == [7]


# --- events sent


def test_a_sent_event_and_its_step_are_one_decision() -> None:
    message = messages.emitted(RUN, "tell", "told", {"a": 1}, event_id="e-1")
    outcome = decide(held(), message)

    assert outcome.effects == [Emit(1, "e-1", "told", b'{"a":1}', None)]
    assert (outcome.steps[key("tell")].output, outcome.steps[key("tell")].event_id) == (b'"e-1"', "e-1")
    assert told(outcome)[0] == message.n


def test_an_event_without_an_id_gets_one() -> None:
    outcome = decide(held(), messages.emitted(RUN, "tell", "told"))

    assert outcome.steps[key("tell")].event_id == str(FRESH)


def test_an_event_is_not_sent_again_for_a_step_that_is_done() -> None:
    message = messages.emitted(RUN, "tell", "told")
    outcome = decide(held(), message, known=around(("tell", Step("send_event", "completed", 1), None)))

    assert (outcome.effects, outcome.steps) == ([], {})
    assert told(outcome) == [message.n]


def test_an_event_said_twice_in_one_batch_is_sent_once() -> None:
    outcome = decide(held(), messages.emitted(RUN, "tell", "told"), messages.emitted(RUN, "tell", "told"))

    assert len(outcome.effects) == 1


# --- tries that fail


def test_a_failed_try_is_made_again_after_a_backoff_that_grows() -> None:
    first = decide(held(), messages.failed(RUN, "a", attempts=1))
    third = decide(held(), messages.failed(RUN, "a", attempts=3))

    assert first.steps[key("a")].status == "retrying"
    assert first.effects == [PutWait(key("a"), 1, seconds=1.0)]
    assert third.effects == [PutWait(key("a"), 1, seconds=4.0)]


def test_retry_after_replaces_the_backoff_of_a_step() -> None:
    outcome = decide(held(), messages.failed(RUN, "a", retry_after_seconds=90))

    assert outcome.effects == [PutWait(key("a"), 1, seconds=90)]


@pytest.mark.parametrize(
    "message",
    [
        messages.failed(RUN, "a", attempts=4, retries=3),
        messages.failed(RUN, "a", attempts=1, retries=0),
        messages.failed(RUN, "a", attempts=1, retriable=False),
    ],
    ids=["retries used up", "no retries", "not retriable"],
)
def test_the_last_failed_try_fails_the_step_and_its_caller_is_told(message: object) -> None:
    outcome = decide(held(), message)  # type: ignore[arg-type]

    assert outcome.steps[key("a")].status == "failed"
    assert outcome.effects == []
    number, memo = told(outcome)
    assert isinstance(number, int)
    assert isinstance(memo, Memo)
    assert (memo.status, memo.error) == ("failed", messages.ERROR)


def test_a_step_of_a_cancelling_run_is_not_tried_again() -> None:
    assert decide(held(cancelling=True), messages.failed(RUN, "a")).steps[key("a")].status == "failed"


@pytest.mark.parametrize("wait", [Wait(None), None], ids=["in its backoff", "after its backoff"])
def test_a_failed_try_that_is_reported_twice_waits_once(wait: Wait | None) -> None:
    message = messages.failed(RUN, "a", attempts=2)
    outcome = decide(held(), message, known=around(("a", Step("run", "retrying", 2), wait)))

    assert (outcome.effects, outcome.steps) == ([], {})
    assert told(outcome) == [message.n]


def test_a_failed_try_that_is_reported_again_while_the_next_one_runs_opens_no_wait() -> None:
    message = messages.failed(RUN, "a", attempts=2)
    late = decide(held(), message, known=around(("a", Step("run", "running", 3), None)))
    in_time = decide(held(), message, known=around(("a", Step("run", "running", 2), None)))

    assert (late.effects, late.steps, told(late)) == ([], {}, [message.n])
    assert in_time.steps[key("a")].status == "retrying"


def test_a_failed_try_that_is_reported_again_with_its_beginning_opens_no_wait() -> None:
    again = [messages.started(RUN, "a", attempts=2), messages.failed(RUN, "a", attempts=2)]
    outcome = decide(held(), *again, known=around(("a", Step("run", "retrying", 2), None)))

    assert (outcome.effects, outcome.steps) == ([], {})


def test_the_last_failed_try_that_is_reported_twice_is_answered_as_the_first_time() -> None:
    message = messages.failed(RUN, "a", attempts=4, retries=3)
    outcome = decide(held(), message, known=around(("a", Step("run", "failed", 4), None)))

    assert outcome.steps == {}
    number, memo = told(outcome)
    assert (number, memo.status) == (message.n, "failed")


# --- waits


def test_a_sleep_is_a_deadline_alone() -> None:
    message = messages.sleeps(RUN, "nap", 30)
    outcome = decide(held(), message)

    assert outcome.steps[key("nap")].status == "waiting"
    assert outcome.effects == [PutWait(key("nap"), 1, None, 30)]
    assert told(outcome) == [message.n]


def test_a_wait_for_an_event_looks_back_to_the_beginning_of_the_run_unless_it_is_narrowed() -> None:
    def since(message: StepParked) -> object:
        (wait,) = decide(held(), message).effects
        assert isinstance(wait, PutWait)
        assert wait.match is not None
        return wait.since

    later = BEGINNING.replace(hour=13)
    assert since(messages.awaits_event(RUN, "w", "opened")) == BEGINNING
    assert since(messages.awaits_event(RUN, "w", "opened", since=later)) == later
    assert since(messages.awaits_event(RUN, "w", "opened", since_now=True)) is None


@pytest.mark.parametrize("match", ["data.a ==", "nobody.knows == 1"])
def test_an_expression_that_cannot_be_judged_fails_its_step(match: str) -> None:
    outcome = decide(held(), messages.awaits_event(RUN, "w", "opened", match=match))

    put = outcome.steps[key("w")]
    assert (put.status, error_name(put.error)) == ("failed", "ExpressionError")
    assert outcome.effects == []


def test_a_wait_said_twice_is_one_wait() -> None:
    again = messages.sleeps(RUN, "nap")
    in_one_batch = decide(held(), messages.sleeps(RUN, "nap"), again)
    later = decide(held(), again, known=around(("nap", Step("sleep", "waiting", 0), Wait(None))))
    after_its_end = decide(held(), again, known=around(("nap", Step("sleep", "completed", 0), None)))

    assert len(in_one_batch.effects) == 1
    assert (later.effects, later.steps) == ([], {})
    assert (after_its_end.effects, after_its_end.steps) == ([], {})
    assert told(later) == told(after_its_end) == [again.n]


@pytest.mark.parametrize(
    "message",
    [
        messages.sleeps(RUN, "a"),
        messages.awaits_event(RUN, "a", "opened"),
        messages.awaits_signal(RUN, "a", "s"),
        messages.invokes(RUN, "a", "child"),
        messages.emitted(RUN, "a", "sent"),
    ],
    ids=lambda message: str(message.op),
)
def test_a_cancelling_run_begins_nothing_new(message: object) -> None:
    outcome = decide(held(cancelling=True), message, known=around(functions=("child",)))  # type: ignore[arg-type]

    assert (outcome.effects, outcome.steps) == ([], {})


# --- children


def test_an_invoked_function_is_a_child_of_the_run() -> None:
    message = messages.invokes(RUN, "sub", "child", {"a": 1}, seconds=60)
    outcome = decide(held(depth=2), message, known=around(functions=("child",)))

    assert outcome.effects == [
        PutWait(key("sub"), 1, "child", 60),
        StartChild(FRESH, key("sub"), 1, "child", b'{"a":1}', 3),
    ]
    assert outcome.steps[key("sub")].child_run_id == FRESH


def test_a_child_is_started_once_however_often_it_is_asked_for() -> None:
    known = around(functions=("child",))
    outcome = decide(held(), messages.invokes(RUN, "s", "child"), messages.invokes(RUN, "s", "child"), known=known)

    assert len([effect for effect in outcome.effects if isinstance(effect, StartChild)]) == 1


def test_an_unknown_function_fails_the_step_and_names_it() -> None:
    outcome = decide(held(), messages.invokes(RUN, "sub", "nobody"))

    put = outcome.steps[key("sub")]
    assert (put.status, error_name(put.error)) == ("failed", "UnknownFunctionError")
    assert put.error is not None
    assert b"nobody" in put.error
    assert outcome.effects == []


def test_children_go_no_deeper_than_the_limit() -> None:
    known = around(functions=("child",))
    allowed = decide(held(depth=limits.CHILDREN_DEPTH - 1), messages.invokes(RUN, "s", "child"), known=known)
    refused = decide(held(depth=limits.CHILDREN_DEPTH), messages.invokes(RUN, "s", "child"), known=around())
    too_deep = decide(
        held(depth=limits.CHILDREN_DEPTH), messages.invokes(RUN, "s", "child"), known=around(functions=("child",))
    )

    assert allowed.steps[key("s")].status == "waiting"
    assert refused.steps[key("s")].status == "failed"
    assert error_name(too_deep.steps[key("s")].error) == "LimitError"
    assert b"CHILDREN_DEPTH" in (too_deep.steps[key("s")].error or b"")


def test_a_wait_that_ends_as_it_begins_counts_so_that_the_run_does_not_park_on_it() -> None:
    unknown = messages.invokes(RUN, "sub", "nobody")
    outcome = decide(held(), unknown, messages.parked(RUN, settled=0))

    assert outcome.runs[RUN].status == "running"
    assert outcome.runs[RUN].settled == 1


# --- signals


def test_a_signal_that_nobody_has_completed_is_waited_for() -> None:
    outcome = decide(held(), messages.awaits_signal(RUN, "gate", "s", seconds=60))

    assert outcome.effects == [
        PutWait(key("gate"), 1, "signal:s", 60),
        PutSignal(1, "s", key("gate"), delivered=False),
    ]


def test_data_that_came_early_is_taken_at_once() -> None:
    early = Signal(waiter=None, data=b'{"ok":true}', delivered=False, expired=False)
    message = messages.awaits_signal(RUN, "gate", "s")
    outcome = decide(held(), message, messages.parked(RUN), known=around(signals={"s": early}))

    assert outcome.effects == [PutSignal(1, "s", key("gate"), delivered=True)]
    assert (outcome.steps[key("gate")].status, outcome.steps[key("gate")].output) == ("completed", b'{"ok":true}')
    assert outcome.runs[RUN].status == "running"


@pytest.mark.parametrize(
    "row",
    [
        Signal(waiter=None, data=b"1", delivered=False, expired=True),
        Signal(waiter=key("before"), data=b"1", delivered=True, expired=False),
    ],
    ids=["expired", "delivered before"],
)
def test_data_of_before_is_not_taken(row: Signal) -> None:
    outcome = decide(held(), messages.awaits_signal(RUN, "gate", "s"), known=around(signals={"s": row}))

    assert outcome.steps[key("gate")].status == "waiting"


def test_two_waits_for_one_signal_are_a_conflict_that_names_the_first() -> None:
    other = key("gate", run_id=CHILD)
    row = Signal(waiter=other, data=None, delivered=False, expired=False)
    outcome = decide(held(), messages.awaits_signal(RUN, "gate", "s"), known=around(signals={"s": row}))

    put = outcome.steps[key("gate")]
    assert (put.status, error_name(put.error)) == ("failed", "SignalConflictError")
    assert str(CHILD).encode() in (put.error or b"")
    assert outcome.effects == []


def test_two_waits_for_one_signal_conflict_within_one_batch_too() -> None:
    other = UUID(int=77)
    runs = [held(), held(id=other)]
    outcome = decide(runs, messages.awaits_signal(RUN, "gate", "s"), messages.awaits_signal(other, "gate", "s"))

    assert outcome.steps[key("gate")].status == "waiting"
    assert outcome.steps[key("gate", run_id=other)].status == "failed"


# --- giving up


def test_a_wait_that_is_given_up_is_gone() -> None:
    message = messages.withdrawn(RUN, "nap")
    outcome = decide(held(), message, known=around(("nap", Step("sleep", "waiting", 0), Wait(None))))

    assert outcome.steps[key("nap")].status == "cancelled"
    assert outcome.effects == [DropWait(key("nap"))]
    assert told(outcome) == [message.n]


def test_a_signal_that_is_given_up_is_free() -> None:
    row = Signal(waiter=key("gate"), data=None, delivered=False, expired=False)
    known = around(("gate", Step("wait_for_signal", "waiting", 0), Wait("signal:s")), signals={"s": row})
    outcome = decide(
        held(), messages.withdrawn(RUN, "gate"), messages.awaits_signal(RUN, "second gate", "s"), known=known
    )

    assert ReleaseSignal(1, "s") in outcome.effects
    assert outcome.steps[key("second gate")].status == "waiting"


def test_data_whose_waiter_gave_up_is_there_for_the_next() -> None:
    row = Signal(waiter=key("gate"), data=b"1", delivered=False, expired=False)
    known = around(("gate", Step("wait_for_signal", "waiting", 0), Wait("signal:s")), signals={"s": row})
    outcome = decide(
        held(), messages.withdrawn(RUN, "gate"), messages.awaits_signal(RUN, "second gate", "s"), known=known
    )

    assert outcome.steps[key("second gate")].output == b"1"


def test_a_child_that_is_given_up_is_cancelled() -> None:
    known = around(("sub", Step("invoke", "waiting", 0, CHILD), Wait("child")))
    outcome = decide(held(), messages.withdrawn(RUN, "sub"), known=known)

    assert CancelRun(CHILD) in outcome.effects


def test_giving_up_what_has_ended_changes_nothing() -> None:
    message = messages.withdrawn(RUN, "nap")
    outcome = decide(held(), message, known=around(("nap", Step("sleep", "completed", 0), None)))

    assert (outcome.effects, outcome.steps) == ([], {})
    assert told(outcome) == [message.n]


def test_a_step_that_nothing_is_recorded_of_can_be_given_up() -> None:
    assert decide(held(), messages.withdrawn(RUN, "a")).steps[key("a")].status == "cancelled"
