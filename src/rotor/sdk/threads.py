"""The threads of a workflow that is a plain `def`: one for its body, and one for each branch of `step.parallel`.

A step call blocks its thread while a task on the event loop carries the call out. The run is at rest when none of its
threads runs. Threads are started one after another, each when those before it have come to rest, and are handed their
results one at a time: so they use step ids in the same order on every replay.

A thread cannot be cancelled. One that is blocked in a call, or makes one later, is unwound by `Suspended`, which
`except Exception` does not catch.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, Final, TypeVar

__all__ = ["HandlerThreads", "Suspended"]

R = TypeVar("R")

REST_SECONDS: Final = 1.0
"""How long the start of the next branch waits for those before it."""


class Suspended(BaseException):
    """Unwinds a blocked thread whose run goes on later, from its records, or not at all. Let it pass."""


class HandlerThreads:
    """The threads of one run. All but `call` belongs to the event loop."""

    def __init__(self, name: str, on_change: Callable[[], None]) -> None:
        self.running = 0
        """How many threads run the workflow's own code."""
        self._name = name
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._suspended = False
        self._thread_id = threading.get_ident()
        self._resting: list[asyncio.Future[None]] = []

    def suspend(self) -> None:
        """Unwind every thread at its next call."""
        self._suspended = True

    async def run(self, function: Callable[[], R]) -> R:
        """The result of `function`, run in a thread of its own."""
        outcome: asyncio.Future[R] = self._loop.create_future()
        context = copy_context()
        self.running += 1

        def main() -> None:
            try:
                result = context.run(function)
            except BaseException as error:
                self._post(self._ended, outcome, None, error)
            else:
                self._post(self._ended, outcome, result, None)

        threading.Thread(target=main, name=self._name, daemon=True).start()
        return await outcome

    async def run_all(self, functions: Sequence[Callable[[], R]]) -> list[R]:
        """The results of `functions`, each run in a thread of its own; where some raise, the first of them raises when
        all have ended."""
        tasks = []
        for function in functions:
            tasks.append(self._loop.create_task(self.run(function)))
            await self._rest()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]

    def call(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """The result of `work`, carried out on the loop while this thread is blocked."""
        if self._suspended:
            raise Suspended
        if threading.get_ident() == self._thread_id:
            raise RuntimeError("a blocking step was called on the event loop: use an async def handler there")
        reply: Future[R] = Future()
        try:
            self._loop.call_soon_threadsafe(self._blocked, work, reply)
        except RuntimeError:  # the loop is closed: the process ends
            raise Suspended from None
        return reply.result()

    def _blocked(self, work: Callable[[], Coroutine[Any, Any, R]], reply: Future[R]) -> None:
        self._loop.create_task(self._carry(work, reply))
        self._count(-1)

    async def _carry(self, work: Callable[[], Coroutine[Any, Any, R]], reply: Future[R]) -> None:
        try:
            if self._suspended:
                raise Suspended
            result = await work()
        except asyncio.CancelledError:
            reply.set_exception(Suspended())
        except BaseException as error:
            self._count(1)
            reply.set_exception(error)
        else:
            self._count(1)
            reply.set_result(result)

    def _ended(self, outcome: asyncio.Future[R], result: R, error: BaseException | None) -> None:
        self._count(-1)
        if outcome.done():
            return
        if error is None:
            outcome.set_result(result)
        elif isinstance(error, Suspended):
            outcome.cancel()
        else:
            outcome.set_exception(error)

    def _count(self, change: int) -> None:
        self.running += change
        if not self.running:
            for resting in self._resting:
                resting.set_result(None)
            self._resting.clear()
        self._on_change()

    async def _rest(self) -> None:
        """Return when no thread runs, or after a while."""
        if self.running:
            resting = self._loop.create_future()
            self._resting.append(resting)
            await asyncio.wait([resting], timeout=REST_SECONDS)

    def _post(self, call_back: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call_back, *arguments)
        except RuntimeError:
            return  # the loop is closed: nobody is left to be told
