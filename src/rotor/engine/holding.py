"""What a message of a run's holder does. One that lost its lease changes nothing; on a run that is being cancelled the
step in flight is recorded and nothing new begins.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from rotor.engine.arrivals import FromHolder
from rotor.engine.backoff import delay
from rotor.engine.decision import Decision
from rotor.engine.ending import end
from rotor.engine.run import Known, Run
from rotor.engine.stepping import decide_step
from rotor.protocol import json
from rotor.protocol.messages import (
    CancelRun,
    DropRun,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunParked,
    RunReleased,
    StepDone,
    StepFailed,
    StepParked,
    StepStarted,
    StepWithdrawn,
)

__all__ = ["hold"]


def hold(run: Run | None, arrival: FromHolder, known: Known, jitter: float) -> Decision:
    """Decide on one message. `jitter` in [0, 1) spreads retries."""
    if run is None or run.lease_id != arrival.lease_id or run.workspace_id != arrival.workspace_id:
        reason = "the lease is over: another holder goes on, or the run has ended"
        return Decision(run, notices=[DropRun(run_id=str(arrival.run_id), reason=reason)])
    decision = _decide(run, arrival, known, jitter)
    if run.cancelling and decision.run is not None and not decision.run.ended:
        decision.notices.append(CancelRun(run_id=str(run.id)))
    return decision


def _decide(run: Run, arrival: FromHolder, known: Known, jitter: float) -> Decision:
    message = arrival.message
    match message:
        case StepDone() | StepStarted() | StepFailed() | StepParked() | StepWithdrawn():
            progress = run if not run.losses or isinstance(message, StepStarted) else replace(run, losses=0)
            return decide_step(progress, message, arrival.fresh_id, known, jitter)
        case RunCompleted(output=output):
            ending = end(run, "cancelled") if run.cancelling else end(run, "completed", output=bytes(output))
        case RunFailed():
            ending = _body_failed(run, message, jitter)
        case RunParked():
            ending = _park(run, arrival, message, known)
        case RunCancelled() | RunReleased():
            ending = end(run, "cancelled") if run.cancelling else Decision(run.queued())
        case _:
            assert_never(message)
    if ending.run is not None and ending.run.status != "running":
        ending.notices.insert(0, message.n)
    return ending


def _body_failed(run: Run, message: RunFailed, jitter: float) -> Decision:
    if run.cancelling:
        return end(run, "cancelled")
    if message.attempt not in (None, run.attempt):  # it has been told before, and its holder has let go
        return Decision(run.queued())
    failed = replace(run, attempt=run.attempt + 1, losses=0)
    if not message.retriable or run.attempt >= message.retries:
        return end(failed, "failed", error=json.encode(message.error))
    wait = message.retry_after_seconds
    return Decision(
        failed.queued(seconds=delay(run.attempt + 1, jitter=jitter).total_seconds() if wait is None else wait)
    )


def _park(run: Run, arrival: FromHolder, message: RunParked, known: Known) -> Decision:
    """Let the run go, unless a wait came to its end that the holder has not been told of: then it goes on with that."""
    if run.cancelling:
        return end(run, "cancelled")
    if run.settled != message.settled:
        return Decision(run if arrival.can_go_on else run.queued())
    if not known.parked[run.id]:
        # Nothing would ever wake it: a wait that the holder takes for registered was refused, and it is told so.
        return Decision(run)
    return Decision(replace(run, status="waiting", lease_id=None, kept_by=arrival.lease_id if message.kept else None))
