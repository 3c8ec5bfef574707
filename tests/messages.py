"""Messages of a run's holder in few words, each with a number of its own."""

from __future__ import annotations

from datetime import datetime
from itertools import count
from typing import Any

from rotor.protocol import json
from rotor.protocol.json import Raw
from rotor.protocol.messages import (
    Child,
    Emission,
    Error,
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

numbers = count(1)

ERROR = Error(name="ValueError", message="no")


def raw(value: object) -> Raw:
    return Raw(json.encode(value))


def started(run_id: object, id: str, *, index: int = 0, attempts: int = 1, n: int = 0) -> StepStarted:
    return StepStarted(run_id=str(run_id), id=id, index=index, attempts=attempts, n=n)


def done(run_id: object, id: str, output: object = None, *, index: int = 0, attempts: int = 1) -> StepDone:
    return StepDone(
        run_id=str(run_id), n=next(numbers), id=id, index=index, op="run", output=raw(output), attempts=attempts
    )


def emitted(
    run_id: object,
    id: str,
    name: str,
    data: object = None,
    *,
    index: int = 0,
    event_id: str | None = None,
    ts: datetime | None = None,
) -> StepDone:
    emission = Emission(name=name, data=raw(data), id=event_id, ts=ts)
    return StepDone(run_id=str(run_id), n=next(numbers), id=id, index=index, op="send_event", emit=emission)


def failed(
    run_id: object, id: str, *, index: int = 0, attempts: int = 1, retries: int = 3, error: Error = ERROR, **fields: Any
) -> StepFailed:
    return StepFailed(
        run_id=str(run_id),
        n=next(numbers),
        id=id,
        index=index,
        attempts=attempts,
        retries=retries,
        error=error,
        **fields,
    )


def sleeps(run_id: object, id: str, seconds: float = 60, *, index: int = 0) -> StepParked:
    return StepParked(run_id=str(run_id), n=next(numbers), id=id, index=index, op="sleep", seconds=seconds)


def awaits_event(
    run_id: object, id: str, name: str, *, index: int = 0, seconds: float = 3600, equals: Any = None, **fields: Any
) -> StepParked:
    if equals is not None:
        fields["equals"] = {path: raw(value) for path, value in equals.items()}
    return StepParked(
        run_id=str(run_id),
        n=next(numbers),
        id=id,
        index=index,
        op="wait_for_event",
        topic=f"event:{name}",
        seconds=seconds,
        **fields,
    )


def awaits_signal(run_id: object, id: str, signal: str, *, index: int = 0, seconds: float = 3600) -> StepParked:
    return StepParked(
        run_id=str(run_id),
        n=next(numbers),
        id=id,
        index=index,
        op="wait_for_signal",
        topic=f"signal:{signal}",
        seconds=seconds,
    )


def invokes(
    run_id: object, id: str, function_id: str, data: object = None, *, index: int = 0, seconds: float = 3600
) -> StepParked:
    return StepParked(
        run_id=str(run_id),
        n=next(numbers),
        id=id,
        index=index,
        op="invoke",
        topic="child",
        seconds=seconds,
        child=Child(function_id=function_id, data=raw(data)),
    )


def withdrawn(run_id: object, id: str, *, index: int = 0) -> StepWithdrawn:
    return StepWithdrawn(run_id=str(run_id), n=next(numbers), id=id, index=index)


def completed(run_id: object, output: object = None) -> RunCompleted:
    return RunCompleted(run_id=str(run_id), n=next(numbers), output=raw(output))


def body_failed(run_id: object, *, retries: int = 3, error: Error = ERROR, **fields: Any) -> RunFailed:
    return RunFailed(run_id=str(run_id), n=next(numbers), error=error, retries=retries, **fields)


def parked(run_id: object, settled: int = 0, *, kept: bool = False) -> RunParked:
    return RunParked(run_id=str(run_id), n=next(numbers), settled=settled, kept=kept)


def stopped(run_id: object) -> RunCancelled:
    return RunCancelled(run_id=str(run_id), n=next(numbers))


def released(run_id: object) -> RunReleased:
    return RunReleased(run_id=str(run_id), n=next(numbers))
