"""`ctx.step` of a plain `def` handler: the same steps, each of which blocks its thread until it has its outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar, TypeVarTuple, overload

from rotor.sdk.functions import DataOf, Function
from rotor.sdk.outcomes import Event, InvokeResult
from rotor.sdk.steps import Duration, Match, Step
from rotor.sdk.threads import HandlerThreads

__all__ = ["SyncStep"]

R = TypeVar("R")
T = TypeVar("T")
D = TypeVar("D")
Ts = TypeVarTuple("Ts")


class SyncStep:
    """The steps of `Step`, without `await`; `parallel` takes several side by side."""

    def __init__(self, step: Step, threads: HandlerThreads) -> None:
        self._step = step
        self._threads = threads

    def parallel(self, callables: Sequence[Callable[[], R]]) -> list[R]:
        """Run each of `callables` in a thread of its own, where it may take steps, and return their results in order.

        It returns when all have ended; where some raise, the first of them in order raises here.

            scores = ctx.step.parallel([partial(enrich, ctx, contact) for contact in contacts])
        """
        branches = list(callables)
        return self._threads.call(lambda: self._threads.run_all(branches))

    @overload
    def run(
        self,
        id: str,
        fn: Callable[[*Ts], Awaitable[R]],
        /,
        *args: *Ts,
        retries: int | None = None,
        timeout: Duration | None = None,
        at_most_once: bool = False,
    ) -> R: ...
    @overload
    def run(
        self,
        id: str,
        fn: Callable[[*Ts], R],
        /,
        *args: *Ts,
        retries: int | None = None,
        timeout: Duration | None = None,
        at_most_once: bool = False,
    ) -> R: ...
    def run(
        self,
        id: str,
        fn: Callable[[*Ts], Any],
        /,
        *args: *Ts,
        retries: int | None = None,
        timeout: Duration | None = None,
        at_most_once: bool = False,
    ) -> Any:
        """See `Step.run`."""
        return self._threads.call(
            lambda: self._step.run(id, fn, *args, retries=retries, timeout=timeout, at_most_once=at_most_once)
        )

    def sleep(self, id: str, duration: Duration) -> None:
        """See `Step.sleep`."""
        self._threads.call(lambda: self._step.sleep(id, duration))

    def sleep_until(self, id: str, when: str | datetime) -> None:
        """See `Step.sleep_until`."""
        self._threads.call(lambda: self._step.sleep_until(id, when))

    @overload
    def wait_for_event(
        self,
        id: str,
        *,
        event: str,
        timeout: Duration,
        match: Match | None = None,
        since: str | datetime | None = None,
        data_type: type[D],
    ) -> Event[D] | None: ...
    @overload
    def wait_for_event(
        self,
        id: str,
        *,
        event: str,
        timeout: Duration,
        match: Match | None = None,
        since: str | datetime | None = None,
        data_type: None = None,
    ) -> Event[Any] | None: ...
    def wait_for_event(
        self,
        id: str,
        *,
        event: str,
        timeout: Duration,
        match: Match | None = None,
        since: str | datetime | None = None,
        data_type: Any = None,
    ) -> Event[Any] | None:
        """See `Step.wait_for_event`."""
        return self._threads.call(
            lambda: self._step.wait_for_event(
                id, event=event, timeout=timeout, match=match, since=since, data_type=data_type
            )
        )

    @overload
    def wait_for_signal(self, id: str, *, signal: str, timeout: Duration, data_type: type[D]) -> D: ...
    @overload
    def wait_for_signal(self, id: str, *, signal: str, timeout: Duration, data_type: None = None) -> Any: ...
    def wait_for_signal(self, id: str, *, signal: str, timeout: Duration, data_type: Any = None) -> Any:
        """See `Step.wait_for_signal`."""
        return self._threads.call(
            lambda: self._step.wait_for_signal(id, signal=signal, timeout=timeout, data_type=data_type)
        )

    @overload
    def invoke(self, id: str, *, workflow: Function[T, R], data: DataOf[T], timeout: Duration) -> InvokeResult[R]: ...
    @overload
    def invoke(self, id: str, *, workflow: str, data: object = None, timeout: Duration) -> InvokeResult[Any]: ...
    def invoke(
        self, id: str, *, workflow: str | Function[Any, Any], data: object = None, timeout: Duration
    ) -> InvokeResult[Any]:
        """See `Step.invoke`."""
        return self._threads.call(lambda: self._step.invoke(id, workflow=workflow, data=data, timeout=timeout))

    def send_event(
        self,
        id: str,
        *,
        name: str,
        data: object = None,
        event_id: str | None = None,
        ts: str | datetime | None = None,
    ) -> str:
        """See `Step.send_event`."""
        return self._threads.call(lambda: self._step.send_event(id, name=name, data=data, event_id=event_id, ts=ts))
