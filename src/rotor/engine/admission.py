"""What a holder's message about a step may not hold: each limit, with the words that name it.

A message is judged before it is decided on, so that one value that cannot be kept fails its own step with a clear
error, and never the transaction that it would have been written in.
"""

from __future__ import annotations

from typing import Final

from rotor import limits
from rotor.errors import PayloadError
from rotor.protocol import json
from rotor.protocol.json import Raw
from rotor.protocol.messages import Emission, Error, StepDone, StepMessage, StepParked

__all__ = ["can_be_named", "problem_of", "within_sleep"]

SLEEP_SECONDS: Final = limits.SLEEP.total_seconds()


def can_be_named(message: StepMessage) -> bool:
    """Whether the step has an id and an index that can be kept at all."""
    return _text_problem(message.id) is None and 0 <= message.index < limits.STEPS_PER_RUN


def problem_of(message: StepMessage) -> Error | None:
    """Why the message cannot be taken; None: it can."""
    match message:
        case StepDone(emit=None, output=output):
            return _size_problem("the result", output)
        case StepDone(emit=Emission() as event):
            return (
                _name_problem("the event's name", event.name)
                or (_name_problem("the event's id", event.id) if event.id is not None else None)
                or _payload_problem("the event's data", event.data)
            )
        case StepParked():
            return _parked_problem(message)
        case _:
            return None


def within_sleep(seconds: float) -> float:
    """A wait that was asked for, between none and the longest."""
    return min(max(seconds, 0.0), SLEEP_SECONDS)


def _parked_problem(message: StepParked) -> Error | None:
    if message.seconds is not None and message.seconds > SLEEP_SECONDS:
        return _limit(f"the wait is over the limit of {limits.SLEEP.days:,} days (SLEEP)")
    if message.child is not None:
        return _name_problem("the function's id", message.child.function_id) or _payload_problem(
            "the data for the invoked workflow", message.child.data
        )
    if message.topic is None:
        return None
    kind, _, name = message.topic.partition(":")
    if kind not in ("event", "signal"):
        return Error(name="NonRetriableError", message=f"a wait for {kind!r} is not known to this server: upgrade it")
    return _name_problem("the event's name" if kind == "event" else "the signal's id", name)


def _name_problem(what: str, name: str) -> Error | None:
    problem = _text_problem(name)
    return None if problem is None else _limit(f"{what} {problem}")


def _text_problem(text: str) -> str | None:
    if not text:
        return "is empty"
    if len(text) > limits.ID_CHARACTERS:
        return f"has {len(text):,} characters; the limit is {limits.ID_CHARACTERS} (ID_CHARACTERS)"
    return "holds a NUL character" if "\0" in text else None


def _payload_problem(what: str, payload: Raw) -> Error | None:
    try:
        json.check(payload)
    except PayloadError as error:
        return Error(name="SerializationError", message=f"{what} cannot be stored: {error}")
    return None


def _size_problem(what: str, payload: Raw) -> Error | None:
    size = len(memoryview(payload))
    if size <= limits.PAYLOAD_BYTES:
        return None
    return _limit(f"{what} is {size:,} bytes; the limit is {limits.PAYLOAD_BYTES:,} (PAYLOAD_BYTES)")


def _limit(text: str) -> Error:
    return Error(name="LimitError", message=text)
