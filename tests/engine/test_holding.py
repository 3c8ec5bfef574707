"""Who holds a run decides how it goes on; who does not changes nothing."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from rotor.engine.effects import CancelChildren
from rotor.engine.run import Step, Wait
from rotor.protocol.messages import CancelRun, DropRun, RunMessage
from tests import messages
from tests.engine.cases import LEASE, OTHER_LEASE, RUN, around, decide, held, says, told, waiting

EVERY_KIND = [
    messages.started(RUN, "a"),
    messages.done(RUN, "a"),
    messages.emitted(RUN, "a", "sent"),
    messages.failed(RUN, "a"),
    messages.sleeps(RUN, "a"),
    messages.awaits_signal(RUN, "a", "s"),
    messages.withdrawn(RUN, "a"),
    messages.completed(RUN),
    messages.body_failed(RUN),
    messages.parked(RUN),
    messages.stopped(RUN),
    messages.released(RUN),
]


def kind(message: RunMessage) -> str:
    return type(message).__name__


@pytest.mark.parametrize("message", EVERY_KIND, ids=kind)
@pytest.mark.parametrize(
    "run", [held(lease_id=OTHER_LEASE), waiting(), held(status="completed", lease_id=None)], ids=lambda run: run.status
)
def test_without_the_lease_nothing_is_written_and_the_run_is_to_be_dropped(run: object, message: RunMessage) -> None:
    outcome = decide(run, message)  # type: ignore[arg-type]

    assert not outcome.changed
    assert not outcome.steps
    assert not outcome.effects
    assert [type(notice) for notice in told(outcome)] == [DropRun]


@pytest.mark.parametrize("message", EVERY_KIND, ids=kind)
def test_a_lease_of_another_workspace_is_none(message: RunMessage) -> None:
    outcome = decide(held(), says(message, workspace_id=2))

    assert not outcome.changed
    assert not outcome.steps
    assert not outcome.effects


def test_a_message_about_a_run_that_is_gone_is_answered_with_drop() -> None:
    outcome = decide([], messages.done(RUN, "a"))

    assert [type(notice) for notice in told(outcome)] == [DropRun]


def test_a_body_that_returns_completes_the_run() -> None:
    message = messages.completed(RUN, {"ok": True})
    outcome = decide(held(), message)

    run = outcome.runs[RUN]
    assert (run.status, run.output, run.lease_id) == ("completed", b'{"ok":true}', None)
    assert told(outcome) == [message.n]


def test_a_body_that_raises_is_tried_again_after_a_backoff_that_grows() -> None:
    first = decide(held(attempt=0), messages.body_failed(RUN)).runs[RUN]
    third = decide(held(attempt=2), messages.body_failed(RUN)).runs[RUN]

    assert (first.status, first.attempt, first.due_seconds) == ("queued", 1, 1.0)
    assert (third.status, third.attempt, third.due_seconds) == ("queued", 3, 4.0)


def test_three_retries_are_three_more_tries() -> None:
    last = decide(held(attempt=3), messages.body_failed(RUN, retries=3)).runs[RUN]

    assert (last.status, last.attempt) == ("failed", 4)
    assert last.error is not None
    assert b"ValueError" in last.error


def test_a_body_that_must_not_be_tried_again_fails_at_once() -> None:
    assert decide(held(), messages.body_failed(RUN, retriable=False)).runs[RUN].status == "failed"


def test_retry_after_replaces_the_backoff() -> None:
    assert decide(held(), messages.body_failed(RUN, retry_after_seconds=90)).runs[RUN].due_seconds == 90


def test_a_parked_run_waits_and_is_held_by_nobody() -> None:
    message = messages.parked(RUN)
    outcome = decide(held(), message, known=around(("nap", Step("sleep", "waiting", 0), Wait(None))))

    run = outcome.runs[RUN]
    assert (run.status, run.lease_id, run.kept_by) == ("waiting", None, None)
    assert told(outcome) == [message.n]


def test_whoever_keeps_the_body_of_a_parked_run_is_remembered() -> None:
    known = around(("nap", Step("sleep", "waiting", 0), Wait(None)))

    assert decide(held(), messages.parked(RUN, kept=True), known=known).runs[RUN].kept_by == LEASE


def test_a_holder_that_has_not_heard_of_the_last_settlement_goes_on_with_it() -> None:
    known = around(("nap", Step("sleep", "waiting", 0), Wait(None)))
    outcome = decide(held(settled=2), messages.parked(RUN, settled=1), known=known)

    assert not outcome.changed
    assert told(outcome) == []


def test_an_invocation_that_ended_before_the_last_settlement_is_claimed_again() -> None:
    message = messages.parked(RUN, settled=1)
    outcome = decide(held(settled=2), says(message, can_go_on=False))

    run = outcome.runs[RUN]
    assert (run.status, run.due_seconds) == ("queued", 0)
    assert told(outcome) == [message.n]


def test_a_run_that_nothing_would_wake_is_not_parked() -> None:
    assert decide(held(), messages.parked(RUN)).runs[RUN].status == "running"


def test_a_run_parks_on_a_wait_of_the_same_batch() -> None:
    outcome = decide(held(), messages.sleeps(RUN, "nap"), messages.parked(RUN))

    assert outcome.runs[RUN].status == "waiting"


def test_a_run_does_not_park_on_a_wait_that_the_same_batch_gives_up() -> None:
    outcome = decide(held(), messages.sleeps(RUN, "nap"), messages.withdrawn(RUN, "nap"), messages.parked(RUN))

    assert outcome.runs[RUN].status == "running"


def test_a_run_that_is_given_back_is_due_at_once() -> None:
    run = decide(held(losses=1), messages.released(RUN)).runs[RUN]

    assert (run.status, run.due_seconds, run.lease_id) == ("queued", 0, None)


@pytest.mark.parametrize(
    "message",
    [
        messages.completed(RUN),
        messages.body_failed(RUN),
        messages.parked(RUN),
        messages.stopped(RUN),
        messages.released(RUN),
    ],
    ids=kind,
)
def test_however_a_cancelling_run_is_left_it_is_cancelled(message: RunMessage) -> None:
    outcome = decide(held(cancelling=True), message)

    assert outcome.runs[RUN].status == "cancelled"
    assert outcome.effects == [CancelChildren(RUN)]
    assert told(outcome) == [message.n]


def test_the_holder_of_a_cancelling_run_is_told_with_every_answer() -> None:
    message = messages.done(RUN, "a")
    outcome = decide(held(cancelling=True), message)

    assert told(outcome) == [message.n, CancelRun(run_id=str(RUN))]
    assert outcome.steps


def test_progress_forgets_earlier_losses_and_the_mere_start_of_a_step_does_not() -> None:
    assert decide(held(losses=3), messages.done(RUN, "a")).runs[RUN].losses == 0
    assert decide(held(losses=3), messages.started(RUN, "a")).runs[RUN].losses == 3


def test_a_message_after_the_end_of_its_run_in_the_same_batch_changes_nothing() -> None:
    outcome = decide(held(), messages.completed(RUN, 1), messages.done(RUN, "late"))

    assert not outcome.steps
    assert outcome.runs[RUN] == replace(outcome.runs[RUN], status="completed", output=b"1")


def test_a_failure_of_the_body_that_is_told_again_counts_once() -> None:
    told_again = messages.body_failed(RUN, attempt=0)
    outcome = decide(held(attempt=1), told_again)

    run = outcome.runs[RUN]
    assert (run.status, run.attempt, run.due_seconds) == ("queued", 1, 0)
    assert told(outcome) == [told_again.n]
