"""A message or a deadline brings a parked step to its end: first come, first served, and its run goes on."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from rotor.engine.arrivals import ChildEnded, DeadlineReached, EventArrived, Settlement, SignalArrived
from rotor.engine.decision import Decision, error_text, payload
from rotor.engine.effects import CancelRun, DropWait, Effect, PutSignal, PutStep, ReleaseSignal
from rotor.engine.run import Known, Run, Step, Wait
from rotor.protocol import json
from rotor.protocol.messages import Error, Memo

__all__ = ["memo_of", "settle"]


def settle(run: Run | None, arrival: Settlement, known: Known) -> Decision | None:
    """None where the wait is gone: someone else was first, and nothing is left to do."""
    wait, step = known.waits.get(arrival.key), known.steps.get(arrival.key)
    if run is None or run.ended or wait is None or step is None:
        return None
    if isinstance(arrival, DeadlineReached) and not wait.due:
        return None  # it was due when it was seen; another wait of the same step has come in its place
    effects = _outcome(run, arrival, wait, step, known)
    if effects is None:
        return None
    put = next(effect for effect in effects if isinstance(effect, PutStep))
    awake = replace(run, settled=run.settled + 1)
    if run.status == "waiting" and not run.cancelling:
        awake = _awake(awake, known)
    return Decision(awake, [DropWait(arrival.key), *effects], [memo_of(put)])


def _awake(run: Run, known: Known) -> Run:
    """Whoever keeps the body goes on with it at once, if it has room; else the run waits for its turn."""
    if run.kept_by is not None and run.id in known.resumable and known.room[run.kept_by] > 0:
        return replace(run, status="running", lease_id=run.kept_by, connection=run.keeper, kept_by=None)
    return run.queued()


def _outcome(run: Run, arrival: Settlement, wait: Wait, step: Step, known: Known) -> list[Effect] | None:
    match arrival:
        case DeadlineReached():
            return list(_at_deadline(run, arrival, wait, step, known))
        case EventArrived(event_id=event_id, event=event):
            if (run.id, event_id) in known.taken:
                return None
            return [PutStep(arrival.key, step.op, "completed", output=event, event_id=event_id)]
        case SignalArrived(signal_id=signal_id):
            signal = known.signals.get((run.workspace_id, signal_id))
            if signal is None or signal.data is None or signal.delivered or signal.waiter != arrival.key:
                return None
            return _delivered(run, arrival, step, signal_id, signal.data)
        case ChildEnded():
            return [_child_outcome(arrival, step)]


def _at_deadline(run: Run, arrival: DeadlineReached, wait: Wait, step: Step, known: Known) -> Iterable[Effect]:
    if wait.topic is None:
        again = step.op == "run"
        yield PutStep(arrival.key, step.op, "retrying" if again else "completed", attempts=step.attempts)
        return
    if wait.topic.startswith("signal:"):
        signal_id = wait.topic.removeprefix("signal:")
        signal = known.signals.get((run.workspace_id, signal_id))
        if signal is not None and signal.data is not None and signal.waiter == arrival.key:
            yield from _delivered(run, arrival, step, signal_id, signal.data)
            return
        yield ReleaseSignal(run.workspace_id, signal_id)
    if step.child_run_id is not None:
        yield CancelRun(step.child_run_id)
    yield PutStep(arrival.key, step.op, "timed_out", child_run_id=step.child_run_id)


def _delivered(run: Run, arrival: Settlement, step: Step, signal_id: str, data: bytes) -> list[Effect]:
    return [
        PutSignal(run.workspace_id, signal_id, arrival.key, delivered=True),
        PutStep(arrival.key, step.op, "completed", output=data),
    ]


def _child_outcome(arrival: ChildEnded, step: Step) -> PutStep:
    child = arrival.child_run_id
    match arrival.status:
        case "completed":
            return PutStep(arrival.key, step.op, "completed", output=arrival.output, child_run_id=child)
        case "failed":
            return PutStep(arrival.key, step.op, "failed", error=arrival.error, child_run_id=child)
        case _:
            error = error_text("WorkflowCancelledError", f"the invoked run {child} was cancelled")
            return PutStep(arrival.key, step.op, "failed", error=error, child_run_id=child)


def memo_of(put: PutStep) -> Memo:
    """A step as its holder is told of it."""
    return Memo(
        id=put.key.id,
        index=put.key.index,
        op=put.op,
        status=put.status,
        attempts=put.attempts,
        output=payload(put.output),
        error=json.decode_as(put.error, Error) if put.error else None,
        child_run_id=str(put.child_run_id) if put.child_run_id else None,
    )
