"""What a holder's message about a step does: it is done, tried again later, parked, or given up."""

from __future__ import annotations

from typing import assert_never
from uuid import UUID

from msgspec.structs import replace

from rotor import limits
from rotor.engine.backoff import delay
from rotor.engine.decision import Decision, Notice, error_text
from rotor.engine.effects import (
    CancelRun,
    DropWait,
    Effect,
    Emit,
    PutSignal,
    PutStep,
    PutWait,
    ReleaseSignal,
    StartChild,
)
from rotor.engine.matching import parse_match
from rotor.engine.run import Known, Run, StepKey
from rotor.engine.settling import memo_of
from rotor.engine.states import STEP_ENDED
from rotor.errors import ExpressionError
from rotor.protocol import json
from rotor.protocol.messages import Child, StepDone, StepFailed, StepMessage, StepParked, StepStarted, StepWithdrawn

__all__ = ["decide_step"]


def decide_step(run: Run, message: StepMessage, fresh_id: UUID, known: Known, jitter: float) -> Decision:
    """Decide on one message about a step. `fresh_id` names the child or the event that it may bring about.

    A message may come twice, after a lost connection or a lost answer: the second time it changes nothing, and is
    answered as the first time.
    """
    key = StepKey(run.id, message.id, message.index)
    match message:
        case StepDone():
            return _done(run, key, message, fresh_id, known)
        case StepStarted():
            return _started(run, key, message, known)
        case StepFailed():
            return _failed(run, key, message, known, jitter)
        case StepParked():
            return _park(run, key, message, fresh_id, known)
        case StepWithdrawn():
            return _withdraw(run, key, message, known)
        case _:
            assert_never(message)


def _started(run: Run, key: StepKey, message: StepStarted, known: Known) -> Decision:
    answered: list[Notice] = [message.n] if message.n else []
    step = known.steps.get(key)
    if step is not None and step.status == "retrying" and step.attempts >= message.attempts:
        return Decision(run, notices=answered)  # said again, in a post that goes on with how this try failed
    put = PutStep(key, "run", "running", attempts=message.attempts, elapsed_ms=message.elapsed_ms)
    return Decision(run, [put], answered)


def _done(run: Run, key: StepKey, message: StepDone, fresh_id: UUID, known: Known) -> Decision:
    output = bytes(message.output)
    if message.emit is None:
        put = PutStep(key, message.op, "completed", message.attempts, output, elapsed_ms=message.elapsed_ms)
        return Decision(run, [put], [message.n])
    if run.cancelling or _ended(key, known):
        return Decision(run, notices=[message.n])
    event = message.emit
    event_id = event.id or str(fresh_id)
    put = PutStep(key, message.op, "completed", message.attempts, json.encode(event_id), event_id=event_id)
    emit = Emit(run.workspace_id, event_id, event.name, bytes(event.data), event.ts, event.traceparent)
    return Decision(run, [put, emit], [message.n, memo_of(put)])


def _failed(run: Run, key: StepKey, message: StepFailed, known: Known, jitter: float) -> Decision:
    error = json.encode(message.error)
    final = not message.retriable or message.attempts > message.retries or run.cancelling
    if final:
        put = PutStep(key, "run", "failed", message.attempts, error=error, elapsed_ms=message.elapsed_ms)
        return Decision(run, [DropWait(key), put] if key in known.waits else [put], [message.n, memo_of(put)])
    step = known.steps.get(key)
    again = step is not None and step.attempts >= message.attempts + (step.status != "retrying")
    if again or key in known.waits or _ended(key, known):
        return Decision(run, notices=[message.n])
    seconds = message.retry_after_seconds
    if seconds is None:
        seconds = delay(max(message.attempts, 1), jitter=jitter).total_seconds()
    put = PutStep(key, "run", "retrying", message.attempts, error=error, seconds=seconds, elapsed_ms=message.elapsed_ms)
    return Decision(run, [put, PutWait(key, run.workspace_id, seconds=seconds)], [message.n])


def _park(run: Run, key: StepKey, message: StepParked, fresh_id: UUID, known: Known) -> Decision:
    if run.cancelling or _ended(key, known) or key in known.waits:
        return Decision(run, notices=[message.n])
    topic = message.topic
    waiting = PutStep(key, message.op, "waiting", waits_for=topic, seconds=message.seconds, until=message.until)
    wait = PutWait(key, run.workspace_id, topic, message.seconds, message.until)
    if message.child is not None:
        return _invoke(run, message.child, message, waiting=waiting, wait=wait, child_id=fresh_id, known=known)
    if topic is not None and topic.startswith("signal:"):
        return _await_signal(run, message, waiting, wait, known)
    if topic is not None:
        try:
            match = parse_match(
                message.match, {path: json.decode(value) for path, value in (message.equals or {}).items()}
            )
        except ExpressionError as error:
            return _refused(run, message, waiting, "ExpressionError", str(error))
        since = None if message.since_now else message.since or run.created_at
        wait = replace(wait, match=match, since=since)
    return Decision(run, [waiting, wait], [message.n])


def _invoke(
    run: Run, child: Child, message: StepParked, *, waiting: PutStep, wait: PutWait, child_id: UUID, known: Known
) -> Decision:
    if (run.workspace_id, child.function_id) not in known.functions:
        text = f"no function {child.function_id!r} is registered in this workspace: register it, or correct the id"
        return _refused(run, message, waiting, "UnknownFunctionError", text)
    if run.depth >= limits.CHILDREN_DEPTH:
        text = f"runs invoke each other {run.depth} deep; the limit is {limits.CHILDREN_DEPTH} (CHILDREN_DEPTH)"
        return _refused(run, message, waiting, "LimitError", text)
    effects: list[Effect] = [
        replace(waiting, child_run_id=child_id),
        wait,
        StartChild(
            child_id,
            waiting.key,
            run.workspace_id,
            child.function_id,
            bytes(child.data),
            run.depth + 1,
            child.traceparent,
        ),
    ]
    return Decision(run, effects, [message.n])


def _await_signal(run: Run, message: StepParked, waiting: PutStep, wait: PutWait, known: Known) -> Decision:
    """Take data that came early; else wait, unless another step already waits for the id."""
    assert message.topic is not None
    signal_id = message.topic.removeprefix("signal:")
    signal = known.signals.get((run.workspace_id, signal_id))
    if signal is not None and not signal.delivered and not signal.expired:
        if signal.waiter is not None and signal.waiter != waiting.key:
            text = (
                f"run {signal.waiter.run_id} already waits for signal {signal_id!r}: put the run id into the signal id"
            )
            return _refused(run, message, waiting, "SignalConflictError", text)
        if signal.data is not None:
            put = replace(waiting, status="completed", output=signal.data)
            taken = PutSignal(run.workspace_id, signal_id, waiting.key, delivered=True)
            return Decision(_settled(run), [put, taken], [message.n, memo_of(put)])
    await_it = PutSignal(run.workspace_id, signal_id, waiting.key, delivered=False)
    return Decision(run, [waiting, wait, await_it], [message.n])


def _refused(run: Run, message: StepParked, waiting: PutStep, name: str, text: str) -> Decision:
    """The step fails, and that is recorded: replay finds the same."""
    put = replace(waiting, status="failed", seconds=None, until=None, error=error_text(name, text))
    return Decision(_settled(run), [put], [message.n, memo_of(put)])


def _settled(run: Run) -> Run:
    """A wait that ended as it began counts too: a holder that parks the run in the same breath is told instead."""
    return replace(run, settled=run.settled + 1)


def _withdraw(run: Run, key: StepKey, message: StepWithdrawn, known: Known) -> Decision:
    step, wait = known.steps.get(key), known.waits.get(key)
    if step is not None and step.status in STEP_ENDED:
        return Decision(run, notices=[message.n])
    effects: list[Effect] = [
        PutStep(key, step.op if step else "run", "cancelled", attempts=step.attempts if step else 1)
    ]
    if wait is not None:
        effects.append(DropWait(key))
        if wait.topic is not None and wait.topic.startswith("signal:"):
            effects.append(ReleaseSignal(run.workspace_id, wait.topic.removeprefix("signal:")))
    if step is not None and step.child_run_id is not None:
        effects.append(CancelRun(step.child_run_id))
    return Decision(run, effects, [message.n])


def _ended(key: StepKey, known: Known) -> bool:
    step = known.steps.get(key)
    return step is not None and step.status in STEP_ENDED
