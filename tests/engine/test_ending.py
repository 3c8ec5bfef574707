"""Runs end, are lost by their holders, and are cancelled."""

from __future__ import annotations

import pytest

from rotor import limits
from rotor.engine.arrivals import Cancelled, HolderLost
from rotor.engine.effects import CancelChildren
from rotor.engine.run import Run
from rotor.protocol.messages import CancelRun
from tests.engine.cases import LEASE, OTHER_LEASE, RUN, decide, held, told, waiting


def test_a_run_whose_holder_is_lost_is_due_at_once() -> None:
    run = decide(held(), HolderLost(RUN, LEASE)).runs[RUN]

    assert (run.status, run.due_seconds, run.losses, run.lease_id) == ("queued", 0, 1, None)


def test_each_further_loss_waits_longer() -> None:
    waits = [decide(held(losses=losses), HolderLost(RUN, LEASE)).runs[RUN].due_seconds for losses in (0, 1, 2, 3)]

    assert waits == [0, 1.0, 2.0, 4.0]


def test_a_function_that_kills_its_workers_ends_as_failed() -> None:
    outcome = decide(held(losses=limits.LOSSES - 1), HolderLost(RUN, LEASE))

    run = outcome.runs[RUN]
    assert (run.status, run.losses) == ("failed", limits.LOSSES)
    assert b"LOSSES" in (run.error or b"")


def test_who_was_lost_in_company_may_not_be_to_blame_and_gets_more_tries() -> None:
    run = decide(held(losses=limits.LOSSES - 1), HolderLost(RUN, LEASE, company=1)).runs[RUN]
    assert (run.status, run.losses, run.due_seconds) == ("queued", limits.LOSSES, 8.0)

    outcome = decide(held(losses=limits.LOSSES_IN_COMPANY - 1), HolderLost(RUN, LEASE, company=1))
    assert outcome.runs[RUN].status == "failed"
    assert b"LOSSES_IN_COMPANY is 12" in (outcome.runs[RUN].error or b"")


def test_a_run_that_was_lost_in_company_gets_more_tries() -> None:
    """Any of those that were lost together may be to blame."""
    spared = decide(held(losses=limits.LOSSES), HolderLost(RUN, LEASE, company=3)).runs[RUN]
    failed = decide(held(losses=limits.LOSSES_IN_COMPANY - 1), HolderLost(RUN, LEASE, company=3)).runs[RUN]

    assert (spared.status, failed.status) == ("queued", "failed")
    assert b"LOSSES_IN_COMPANY" in (failed.error or b"")


def test_a_holder_that_never_began_counts_as_no_loss() -> None:
    run = decide(held(losses=4), HolderLost(RUN, LEASE, unreached_seconds=8)).runs[RUN]

    assert (run.status, run.due_seconds, run.losses) == ("queued", 8, 4)


@pytest.mark.parametrize("run", [held(lease_id=OTHER_LEASE), waiting()], ids=["held by another", "held by nobody"])
def test_the_loss_of_an_earlier_holder_changes_nothing(run: Run) -> None:
    outcome = decide(run, HolderLost(RUN, LEASE))

    assert outcome.acted == [False]
    assert not outcome.changed


@pytest.mark.parametrize("unreached_seconds", [None, 8.0])
def test_a_cancelling_run_whose_holder_is_lost_is_cancelled(unreached_seconds: float | None) -> None:
    arrival = HolderLost(RUN, LEASE, unreached_seconds=unreached_seconds)

    assert decide(held(cancelling=True), arrival).runs[RUN].status == "cancelled"


@pytest.mark.parametrize("run", [waiting(), held(status="queued", lease_id=None)], ids=lambda run: str(run.status))
def test_a_run_that_nobody_holds_is_cancelled_at_once(run: Run) -> None:
    outcome = decide(run, Cancelled(RUN))

    assert outcome.runs[RUN].status == "cancelled"
    assert outcome.effects == [CancelChildren(RUN)]


def test_the_holder_of_a_run_is_asked_to_stop() -> None:
    outcome = decide(held(), Cancelled(RUN))

    assert (outcome.runs[RUN].status, outcome.runs[RUN].cancelling) == ("running", True)
    assert outcome.effects == [CancelChildren(RUN)]
    assert told(outcome) == [CancelRun(run_id=str(RUN))]


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_run_that_has_ended_is_not_cancelled(status: str) -> None:
    assert decide(held(status=status, lease_id=None), Cancelled(RUN)).acted == [False]


def test_an_unknown_run_is_not_cancelled() -> None:
    assert decide([], Cancelled(RUN)).acted == [False]
