"""What a holder's message may hold: checked as it comes in, so that what cannot be kept reaches no transaction.

The SDK keeps to all of this. What another one sends is refused by the message's number, and its step fails with the
reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from rotor import limits
from rotor.errors import PayloadError
from rotor.protocol import json
from rotor.protocol.json import Raw
from rotor.protocol.messages import (
    Emission,
    Error,
    Refused,
    RunCompleted,
    RunFailed,
    RunMessage,
    RunParked,
    StepDone,
    StepFailed,
    StepParked,
    StepStarted,
    StepWithdrawn,
)
from rotor.store.checks import event_name_problem, name_problem, text_problem

__all__ = ["refusal"]

COUNT_MAX = 2**31 - 1
"""Of attempts, message numbers and milliseconds, which Postgres keeps as int."""

Problems = Iterator[tuple[str, str]]


def refusal(message: RunMessage, *, payload_bytes_max: int) -> Refused | None:
    """The answer to a message that cannot be kept; None: it can."""
    try:
        # Nearly every message is a plain step's result: it must cost little.
        if type(message) is StepDone and message.emit is None and _is_plain(message):
            json.check(message.output, payload_bytes_max=payload_bytes_max)
            return None
        if type(message) is RunParked and 0 <= message.n <= COUNT_MAX:
            return None
        if type(message) is StepParked and _is_plain_wait(message):
            return None
        for payload in _payloads(message):
            json.check(payload, payload_bytes_max=payload_bytes_max)
    except PayloadError as error:
        return _refused(message, "SerializationError", f"the message's payload {error}")
    for field, problem in _problems(message):
        return _refused(message, "LimitError", f"the message's {field} {problem}")
    return None


def _refused(message: RunMessage, name: str, text: str) -> Refused:
    return Refused(run_id=message.run_id, n=message.n, error=Error(name=name, message=text))


def _is_plain(message: StepDone) -> bool:
    """Nothing can be wrong with it but its payload; false decides nothing."""
    return _is_plainly_named(message) and 0 <= message.attempts <= COUNT_MAX and 0 <= message.elapsed_ms <= COUNT_MAX


def _is_plain_wait(message: StepParked) -> bool:
    """Nothing is wrong with it; false decides nothing."""
    return (
        _is_plainly_named(message)
        and message.child is None
        and not message.equals
        and next(_parked(message), None) is None
    )


def _is_plainly_named(message: StepDone | StepParked) -> bool:
    return (
        0 < len(message.id) <= limits.ID_CHARACTERS
        and message.id.isascii()
        and "\0" not in message.id
        and 0 <= message.n <= COUNT_MAX
        and 0 <= message.index <= limits.STEPS_PER_RUN
    )


def _payloads(message: RunMessage) -> Iterable[Raw]:
    match message:
        case StepDone(emit=None) | RunCompleted():
            return (message.output,)
        case StepDone(emit=Emission(data=data)):
            return message.output, data
        case StepParked():
            child = () if message.child is None else (message.child.data,)
            return *child, *(message.equals or {}).values()
        case _:
            return ()


def _problems(message: RunMessage) -> Problems:
    yield from _count("n", message.n, COUNT_MAX)
    match message:
        case StepStarted():
            yield from _count("attempts", message.attempts, COUNT_MAX)
            yield from _count("elapsed_ms", message.elapsed_ms, COUNT_MAX)
        case StepDone():
            yield from _done(message)
        case StepFailed():
            yield from _count("attempts", message.attempts, COUNT_MAX)
            yield from _count("elapsed_ms", message.elapsed_ms, COUNT_MAX)
            yield from _failure(message)
        case StepParked():
            yield from _parked(message)
        case RunFailed():
            yield from _failure(message)
        case _:
            pass
    if isinstance(message, StepStarted | StepDone | StepFailed | StepParked | StepWithdrawn):
        yield from _named("id", name_problem(message.id))
        yield from _count("index", message.index, limits.STEPS_PER_RUN)


def _done(message: StepDone) -> Problems:
    yield from _count("attempts", message.attempts, COUNT_MAX)
    yield from _count("elapsed_ms", message.elapsed_ms, COUNT_MAX)
    if message.emit is not None:
        yield from _named("emit.name", event_name_problem(message.emit.name))
        yield from _instant("emit.ts", message.emit.ts)
        if message.emit.id is not None:
            yield from _named("emit.id", name_problem(message.emit.id))


def _failure(message: StepFailed | RunFailed) -> Problems:
    yield from _count("retries", message.retries, limits.RETRIES)
    yield from _seconds("retry_after_seconds", message.retry_after_seconds)
    for field in ("name", "message", "stack"):
        text: str = getattr(message.error, field)
        if len(text) > limits.ERROR_TEXT_CHARACTERS:
            yield (
                f"error.{field}",
                f"is longer than {limits.ERROR_TEXT_CHARACTERS:,} characters (ERROR_TEXT_CHARACTERS)",
            )


def _parked(message: StepParked) -> Problems:
    yield from _seconds("seconds", message.seconds)
    yield from _instant("until", message.until)
    yield from _instant("since", message.since)
    if message.child is not None:
        yield from _named("child.function_id", name_problem(message.child.function_id))
    elif message.topic is not None:
        kind, _, name = message.topic.partition(":")
        if kind not in ("event", "signal"):
            yield "topic", "is neither event:NAME nor signal:ID"
        yield from _named("topic", name_problem(name))
    if message.topic is None and message.seconds is None and message.until is None:
        yield "deadline", "is missing, and nothing else ends the wait"
    if message.match is not None:
        characters_max = limits.EXPRESSION_CHARACTERS
        yield from _named(
            "match", text_problem(message.match, characters_max=characters_max, limit="EXPRESSION_CHARACTERS")
        )


def _named(field: str, problem: str | None) -> Problems:
    if problem:
        yield field, problem


def _count(field: str, value: int, most: int) -> Problems:
    if not 0 <= value <= most:
        yield field, f"is not from 0 to {most:,}"


def _seconds(field: str, value: float | None) -> Problems:
    if value is not None and not 0 <= value <= limits.SLEEP.total_seconds():
        yield field, f"is not from 0 to {limits.SLEEP.days:,} days (SLEEP)"


def _instant(field: str, value: datetime | None) -> Problems:
    if value is not None and (value.tzinfo is None or not 1970 <= value.year < 9999):
        yield field, "has no time zone, or is not between 1970 and 9999"
