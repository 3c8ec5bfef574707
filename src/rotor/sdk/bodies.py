"""Runs the bodies of steps: each try is run here and reported to the server, which decides whether there is another.

A try ends with `StepDone` or `StepFailed`, is committed, and only then seen by the workflow, as what the record decodes
to. A coroutine function is awaited in the branch that called the step, anything else runs in a thread of the pool.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import nullcontext
from contextvars import copy_context
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache, partial
from time import perf_counter
from types import FunctionType
from typing import Any, Final

import msgspec

from rotor import limits
from rotor.errors import ConfigError, PayloadError, RetryAfterError, SerializationError
from rotor.protocol import json
from rotor.protocol.json import Raw
from rotor.protocol.messages import Error, Memo, StepFailed, StepStarted
from rotor.sdk.call import Call
from rotor.sdk.calls import Calls
from rotor.sdk.codec import decode_value, encode_value, error_of, result_annotation
from rotor.sdk.isolation import isolated
from rotor.sdk.outcomes import NOT_RETRIABLE, run_outcome
from rotor.sdk.place import CurrentStep, place
from rotor.sdk.replay import FINAL
from rotor.sdk.spans import RunSpans
from rotor.tracing import fail, using

__all__ = ["Bodies", "Options", "encode_payload"]

SHOWN_AFTER_SECONDS: Final = 0.2
"""A body that takes longer is announced to the server, so that people see it run."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one `step.run`, checked."""

    retries: int
    timeout: timedelta | None
    at_most_once: bool

    def __post_init__(self) -> None:
        if (
            isinstance(self.retries, bool)
            or not isinstance(self.retries, int)
            or not 0 <= self.retries <= limits.RETRIES
        ):
            raise ConfigError(f"retries of a step is {self.retries!r}; give a whole number from 0 to {limits.RETRIES}")


@lru_cache
def _usual(retries: int) -> Options:
    """Those of a function's steps that name none."""
    return Options(retries=retries, timeout=None, at_most_once=False)


class _Failure(msgspec.Struct, frozen=True):
    """A try that raised."""

    error: Error
    retriable: bool
    retry_after_seconds: float | None = None


class _Raised(msgspec.Struct, frozen=True):
    """A thread's error: a future cannot carry every one (`StopIteration`)."""

    error: BaseException


class Bodies:
    """The step bodies of one run."""

    def __init__(
        self, calls: Calls, threads: Executor, *, retries: int, payload_bytes_max: int, spans: RunSpans
    ) -> None:
        self.usual = _usual(retries)
        self.payload_bytes_max = payload_bytes_max
        self.spans = spans
        self._calls = calls
        self._threads = threads
        self._loop = calls.loop
        self._running: dict[Call, tuple[float, int]] = {}
        self._announcer: asyncio.TimerHandle | None = None

    async def run(self, id: str, function: Callable[..., Any], arguments: tuple[Any, ...], options: Options) -> Any:
        """What `function` returned, now or earlier, decoded to its return annotation."""
        if not callable(function):
            raise ConfigError(
                f"step.run({id!r}) needs a function as its second argument, not {type(function).__name__}"
            )
        result_type = result_annotation(function)
        call = self._calls.open(id, "run")
        if call.stage != "ended":
            try:
                call.memo = await self._settle(call, partial(function, *arguments), result_type, options)
            except asyncio.CancelledError:
                self._calls.withdraw(call)
                raise
            finally:
                self._calls.close(call)
        assert call.memo is not None
        if call.decoded is not None and call.decoded[0] is call.memo.output:
            return call.decoded[1]
        return run_outcome(call.memo, result_type)

    def stop(self) -> None:
        if self._announcer is not None:
            self._announcer.cancel()

    async def _settle(self, call: Call, body: partial[Any], result_type: Any, options: Options) -> Memo:
        """Run `body` until the server has an outcome on record."""
        calls, memo = self._calls, call.memo
        if call.stage != "new":
            memo = await calls.settlement(call)
        if memo is not None and memo.status == "running" and options.at_most_once:
            memo = await self._report(call, _interrupted(call.id), memo.attempts, options, 0)
        while memo is None or memo.status not in FINAL:
            attempts = 1 if memo is None else memo.attempts + (memo.status != "running")
            if not calls.admits:
                await calls.admission(call)
            if options.at_most_once and (refused := await self._announce_first(call, attempts)) is not None:
                return refused
            calls.move(call, "running")
            call.attempts = attempts
            began = perf_counter()  # a loop's own time may be that of its last turn: too early by milliseconds
            self._running[call] = (began, attempts)
            if self._announcer is None:
                self._announce_later(SHOWN_AFTER_SECONDS)
            cancelled_before = call.task.cancelling()
            try:
                outcome = await self._attempt(call, body, result_type, attempts, options.timeout)
            finally:
                del self._running[call]
            if call.task.cancelling() > cancelled_before:
                raise asyncio.CancelledError  # the body made something else of it, which no replay would do
            memo = await self._report(call, outcome, attempts, options, int((perf_counter() - began) * 1_000))
        return memo

    async def _announce_first(self, call: Call, attempts: int) -> Memo | None:
        """Have it on record that a try begins, before it does; a memo where that is refused."""
        self._calls.report(call, StepStarted, at_most_once=True, attempts=attempts)
        refused: Memo | None = await self._calls.acknowledgement(call)
        if refused is None:
            await self._calls.admission(call)
        return refused

    async def _attempt(
        self, call: Call, body: partial[Any], result_type: Any, attempts: int, timeout: timedelta | None
    ) -> Raw | _Failure:
        """The encoded result of one try, or how it failed. Raises `CancelledError` where the branch is cancelled."""
        cancelled_before = call.task.cancelling()
        step = CurrentStep(self._calls.outbox.run_id, call.id, call.index, attempts - 1)
        limit = None if timeout is None else asyncio.timeout(timeout.total_seconds())
        token = place.set(step)
        span = self.spans.of_try(step)
        try:
            if limit is None and span is None and _is_async(body.func):
                value = await isolated(body())
            else:
                async with limit or nullcontext():
                    with using(span):
                        value = await self._invoke(body)
            if type(value) is _Raised:
                raise value.error
            raw = encode_payload(value, self.payload_bytes_max, "the result of step", call.id)
            call.decoded = raw, decode_value(raw, result_type)
        except asyncio.CancelledError as error:
            if self._calls.sealed or call.task.cancelling() > cancelled_before:
                raise
            return _Failure(error_of(error), retriable=True)  # something that the body awaited was cancelled
        except (Exception, SystemExit) as error:
            if limit is not None and limit.expired() and isinstance(error, TimeoutError):
                error = TimeoutError(f"step {call.id!r} took longer than its timeout of {timeout}").with_traceback(
                    error.__traceback__
                )
            fail(span, type(error).__name__)
            return _failure(error)
        finally:
            place.reset(token)
            if span is not None:
                span.end()
        return raw

    async def _invoke(self, body: partial[Any]) -> Any:
        """What `body` returned, or `_Raised`: a coroutine cannot pass on every error (`StopIteration`)."""
        if _is_async(body.func):
            return await isolated(body())
        value = await self._loop.run_in_executor(self._threads, copy_context().run, _guarded, body)
        return await isolated(_awaited(value)) if inspect.isawaitable(value) else value

    def _report(
        self, call: Call, outcome: Raw | _Failure, attempts: int, options: Options, elapsed_ms: int
    ) -> Awaitable[Memo]:
        """Send the outcome of a try; await what the server makes of it."""
        if self._calls.sealed:  # the body ended all the same: the run may be another holder's by now
            raise asyncio.CancelledError
        if isinstance(outcome, _Failure):
            self._calls.report(
                call,
                StepFailed,
                attempts=attempts,
                elapsed_ms=elapsed_ms,
                error=outcome.error,
                retries=options.retries,
                retriable=outcome.retriable,
                retry_after_seconds=outcome.retry_after_seconds,
            )
        else:
            self._calls.report_done(call, outcome, attempts=attempts, elapsed_ms=elapsed_ms)
        return self._calls.settlement(call)

    def _announce_later(self, seconds: float) -> None:
        neutral = self._calls.branches.neutral
        self._announcer = self._loop.call_later(seconds, self._announce, context=neutral)

    def _announce(self) -> None:
        """Tell the server of the bodies that run for long, each once."""
        self._announcer = None
        now = perf_counter()
        next_in = None
        for call, (began, attempts) in self._running.items():
            left = began + SHOWN_AFTER_SECONDS - now
            if attempts > 0 and left <= 0:
                started = StepStarted(
                    run_id=self._calls.outbox.run_id,
                    id=call.id,
                    index=call.index,
                    attempts=attempts,
                    elapsed_ms=int((now - began) * 1000),
                )
                self._calls.outbox.mention(started)
                self._running[call] = (began, 0)
            elif attempts > 0:
                next_in = min(left, next_in or left)
        if next_in is not None:
            self._announce_later(next_in)


def encode_payload(value: Any, bytes_max: int, what: str, id: str = "") -> Raw:
    """`value` as a payload. Raises `SerializationError` that says `what` (of which `id`) is at fault."""
    try:
        raw = encode_value(value)
        text = bytes(raw)
        if len(text) > bytes_max or text.count(b"[") + text.count(b"{") > limits.PAYLOAD_DEPTH:
            json.check(raw, payload_bytes_max=bytes_max)  # it may be over a limit; what was just encoded is valid
    except (SerializationError, PayloadError) as error:
        named = f"{what} {id!r}" if id else what
        raise SerializationError(f"{named} cannot be stored: {error}") from None
    return raw


def _guarded(body: Callable[[], Any]) -> Any:
    """What `body` returned, or `_Raised`."""
    try:
        return body()
    except BaseException as error:
        return _Raised(error)


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


def _is_async(function: Any) -> bool:
    if type(function) is FunctionType and function.__code__.co_flags & inspect.CO_COROUTINE:
        return True
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function if inspect.isroutine(function) else type(function).__call__)


def _failure(error: BaseException) -> _Failure:
    after = error.retry_after.total_seconds() if isinstance(error, RetryAfterError) else None
    return _Failure(error_of(error), not isinstance(error, NOT_RETRIABLE), after)


def _interrupted(id: str) -> _Failure:
    message = (
        f"step {id!r} runs at most once, and its process was lost while it ran: whether it had its effect is unknown"
    )
    return _Failure(Error(name="InterruptedStepError", message=message), retriable=False)
