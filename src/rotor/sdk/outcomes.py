"""What a step gives its caller, made from what is recorded of it: a value, or an error."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic

from rotor.errors import (
    ConfigError,
    DurableError,
    DurationError,
    ExpressionError,
    LimitError,
    NonRetriableError,
    RotorError,
    SerializationError,
    SignalConflictError,
    SignalTimeoutError,
    StepError,
    UnknownFunctionError,
    WorkflowCancelledError,
    WorkflowFailedError,
    WorkflowTimeoutError,
)
from rotor.protocol import json, messages
from rotor.protocol.messages import Memo
from rotor.sdk.codec import decode_value

if sys.version_info >= (3, 13):
    from typing import TypeVar
else:
    from typing_extensions import TypeVar

__all__ = [
    "NOT_RETRIABLE",
    "Event",
    "InvokeResult",
    "event_outcome",
    "invoke_outcome",
    "read_event",
    "run_outcome",
    "sent_outcome",
    "signal_outcome",
    "sleep_outcome",
]

NOT_RETRIABLE: tuple[type[RotorError], ...] = (
    NonRetriableError,
    DurableError,
    ConfigError,
    DurationError,
    ExpressionError,
)
"""Errors that trying again cannot change."""

T_co = TypeVar("T_co", covariant=True, default=Any)
R_co = TypeVar("R_co", covariant=True, default=Any)

_NAMED: dict[str, type[DurableError]] = {
    kind.__name__: kind
    for kind in (LimitError, SerializationError, SignalConflictError, UnknownFunctionError, WorkflowCancelledError)
}


@dataclass(frozen=True, slots=True)
class Event(Generic[T_co]):
    """An event: what started a run, or what `step.wait_for_event` waited for."""

    id: str
    name: str
    data: T_co
    ts: datetime
    """When it happened, by its sender or else by the server."""


@dataclass(frozen=True, slots=True)
class InvokeResult(Generic[R_co]):
    """What an invoked workflow returned, and which run that was."""

    result: R_co
    run_id: str


def run_outcome(memo: Memo, result_type: Any) -> Any:
    """Of `step.run`. Raises `StepError` where it failed for good."""
    if memo.status == "completed":
        return _decode(memo, result_type)
    raise _error(memo, StepError)


def sleep_outcome(memo: Memo) -> None:
    """Of a sleep."""
    if memo.status != "completed":
        raise _error(memo, StepError)


def sent_outcome(memo: Memo) -> str:
    """Of `step.send_event`: the id of the event."""
    if memo.status != "completed":
        raise _error(memo, StepError)
    return json.decode_as(memo.output, str)


def event_outcome(memo: Memo, data_type: Any) -> Event[Any] | None:
    """Of `step.wait_for_event`: None where none came in time."""
    if memo.status == "timed_out":
        return None
    if memo.status != "completed":
        raise _error(memo, StepError)
    return read_event(json.decode_as(memo.output, messages.Event), data_type, f"step {memo.id!r}")


def signal_outcome(memo: Memo, signal: str, data_type: Any) -> Any:
    """Of `step.wait_for_signal`. Raises `SignalTimeoutError` and `SignalConflictError`."""
    if memo.status == "timed_out":
        raise SignalTimeoutError(f"signal {signal!r} was not completed within the timeout of step {memo.id!r}")
    if memo.status != "completed":
        raise _error(memo, StepError)
    return _decode(memo, data_type)


def invoke_outcome(memo: Memo, function_id: str, result_type: Any) -> InvokeResult[Any]:
    """Of `step.invoke`. Raises `WorkflowFailedError`, `WorkflowTimeoutError` and `WorkflowCancelledError`."""
    if memo.status == "timed_out":
        text = f"workflow {function_id!r} did not end within the timeout of step {memo.id!r}"
        raise WorkflowTimeoutError(f"{text} (run {memo.child_run_id})" if memo.child_run_id else text)
    if memo.status != "completed":
        raise _error(memo, WorkflowFailedError)
    return InvokeResult(_decode(memo, result_type), memo.child_run_id or "")


def read_event(event: messages.Event, data_type: Any, where: str) -> Event[Any]:
    """`event` with its data validated into `data_type`. Raises `SerializationError` that names the field at fault."""
    try:
        data = decode_value(event.data, data_type)
    except SerializationError as error:
        raise SerializationError(
            f"the data of event {event.id} ({event.name}) does not fit {_name(data_type)}, which {where} takes: {error}"
        ) from None
    return Event(event.id, event.name, data, event.ts)


def _decode(memo: Memo, result_type: Any) -> Any:
    try:
        return decode_value(memo.output, result_type)
    except SerializationError as error:
        raise SerializationError(
            f"what is recorded of step {memo.id!r} does not fit {_name(result_type)}: {error}"
        ) from None


def _error(memo: Memo, usual: type[DurableError]) -> RotorError:
    """The error that is recorded."""
    error = memo.error or messages.Error(name=usual.__name__, message=f"step {memo.id!r} ended as {memo.status}")
    if error.name == ExpressionError.__name__:
        return ExpressionError(error.message)
    kind = _NAMED.get(error.name, usual) if memo.op != "run" else usual
    if kind is StepError:
        failed = StepError(
            f"step {memo.id!r} failed: {error.name}: {error.message}", name=error.name, stack=error.stack
        )
        failed.message = error.message
        return failed
    return kind(error.message, name=error.name, stack=error.stack)


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else repr(kind)
