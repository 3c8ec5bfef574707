"""What a test says beforehand: what happens outside while the run waits, and what stands in for functions of steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from rotor.protocol.durations import parse_duration
from rotor.sdk.annotations import result_annotation
from rotor.sdk.functions import Function

__all__ = ["RUN_ID", "Happening", "event", "given", "signal", "with_results"]

RUN_ID: Final = "00000000-0000-7000-8000-000000000001"
"""The `ctx.run_id` of a run that a test executes."""


@dataclass(frozen=True)
class Happening:
    """Something that reaches the run from outside. Made by `event` and `signal`."""

    topic: str
    """`event:NAME` or `signal:ID`."""
    data: Any
    after: timedelta
    """How long after the start of the run, by the simulated clock."""


def event(name: str, data: Any = None, *, after: str | float | timedelta = 0) -> Happening:
    """An event `name` with `data`, sent `after` the start of the run: a duration, as `step.sleep` takes it."""
    return Happening(f"event:{name}", data, parse_duration(after))


def signal(signal_id: str, data: Any = None, *, after: str | float | timedelta = 0) -> Happening:
    """A completion of the signal `signal_id` with `data`, posted `after` the start of the run."""
    return Happening(f"signal:{signal_id}", data, parse_duration(after))


def with_results(function: Function[Any, Any], results: Mapping[str, Any]) -> Function[Any, Any]:
    """`function` with steps whose functions are replaced where `results` has their id."""
    if not results:
        return function
    handler = function.handler
    scripted = copy(function)

    def handle(ctx: Any) -> Any:
        ctx.step = ScriptedStep(ctx.step, results)
        return handler(ctx)

    scripted.handler = handle
    return scripted


class ScriptedStep:
    """The steps of a context, of which `run` is given stand-ins."""

    def __init__(self, step: Any, results: Mapping[str, Any]) -> None:
        self._step = step
        self._results = results

    def run(self, id: str, fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """`step.run` of the stand-in, where there is one."""
        return self._step.run(id, _stand_in(fn, self._results[id]) if id in self._results else fn, *args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._step, name)


def _stand_in(fn: Callable[..., Any], result: Any) -> Callable[..., Any]:
    """A function that gives `result`, with the return annotation of `fn`, to which the record is decoded."""

    async def stand_in(*args: Any, **kwargs: Any) -> Any:
        value = given(result, *args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    stand_in.__annotations__ = {"return": result_annotation(fn)}
    return stand_in


def given(result: Any, *args: Any, **kwargs: Any) -> Any:
    """What a test says happens: an exception is raised, a function called with the arguments, a value is itself."""
    if isinstance(result, BaseException):
        raise result
    return result(*args, **kwargs) if callable(result) else result
