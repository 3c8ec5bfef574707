"""Group commit: what arrives while one transaction is in flight is written together by the next.

One bad member never poisons its group: where a group fails, its halves are written each for itself, and so on down to
the bad member, which alone is answered with the error. Where Postgres cannot be reached, the group is kept and tried
again: its members wait, and nothing of them is lost.

A group and the queue are bounded by the number of their members and by their weight, which is about their bytes.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Generic, NamedTuple, TypeVar

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential, wait_random

from rotor import limits, telemetry
from rotor.store.problems import Overloaded, Problem, is_unavailable

__all__ = ["LAST_WRITES_WITHIN", "GroupCommit", "TryAgain", "wrote_nothing"]

log = logging.getLogger("rotor.store")

T = TypeVar("T")
R = TypeVar("R")
Done = Callable[[T, R | BaseException], None]


class Queued(NamedTuple, Generic[T, R]):
    """A member, and who is told what came of it."""

    member: T
    done: Done[T, R]
    weight: int

    def answer(self, result: R | BaseException) -> None:
        self.done(self.member, result)


class TryAgain(Exception):  # noqa: N818
    """Another transaction came between; the same group does it at the next try."""


TRANSIENT = (
    TryAgain,
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.exceptions.IdleInTransactionSessionTimeoutError,
)


def wrote_nothing(error: Exception) -> bool:
    """Whether it is sure that what ended in `error` was not committed: Postgres has refused it, and says so."""
    return isinstance(error, TryAgain) or (isinstance(error, asyncpg.PostgresError) and not is_unavailable(error))


LAST_WRITES_WITHIN = 10.0
"""Seconds that `stop` gives what is still queued; nobody has been told that it is durable."""


class GroupCommit(Generic[T, R]):
    """A queue and the loop that writes it in groups. `write` gets a group and returns a result a member, in order."""

    def __init__(
        self, name: str, write: Callable[[Sequence[T]], Awaitable[Sequence[R]]], weigh: Callable[[T], int]
    ) -> None:
        self.name = name
        self._write = write
        self._weigh = weigh
        self._duration = telemetry.COMMIT_DURATION.labels(name)
        self._queue: deque[Queued[T, R]] = deque()
        self._weight = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"rotor {self.name}")

    async def stop(self) -> None:
        """Write what is queued, then end. What cannot be written soon is answered so."""
        self._stopping = True
        self._arrived.set()
        if self._task is None:
            return
        _, late = await asyncio.wait({self._task}, timeout=LAST_WRITES_WITHIN)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for queued in self._queue:
            queued.answer(self._stopped())

    async def submit(self, member: T) -> R:
        """Return `member`'s result once it is durable. Raises `Overloaded` where the queue is full."""
        (result,) = await self.submit_all([member])
        if isinstance(result, BaseException):
            raise result
        return result

    async def submit_all(self, members: Sequence[T]) -> list[R | BaseException]:
        """Per member its result once it is durable, or why it has none. They are written in their order.

        Raises `Overloaded` where the queue is full: then none of them is queued.
        """
        if self.full:
            raise Overloaded(
                f"{len(self._queue):,} writes of {self._weight:,} bytes wait for {self.name}; the limits are "
                f"{limits.COMMIT_QUEUE:,} (COMMIT_QUEUE) and {limits.COMMIT_QUEUE_BYTES:,} (COMMIT_QUEUE_BYTES): "
                "try again in a moment"
            )
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[R | BaseException]] = [loop.create_future() for _ in members]
        for member, future in zip(members, futures, strict=True):
            self.put(member, partial(_resolve, future))
        return [await future for future in futures]

    def put(self, member: T, done: Done[T, R]) -> None:
        """Queue `member`; `done` is called with it and its result once it is durable, or with why it is not."""
        if self._stopping and (self._task is None or self._task.done()):
            done(member, self._stopped())
            return
        weight = self._weigh(member)
        self._queue.append(Queued(member, done, weight))
        self._weight += weight
        if not self._arrived.is_set():
            self._arrived.set()
        if self.full:
            self._room.clear()

    async def room(self) -> None:
        """Return while the queue is below its limits: for those who can hold back their senders."""
        while self.full:
            await self._room.wait()

    def queued(self) -> int:
        """How many wait to be written."""
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether the queue is at one of its limits."""
        return len(self._queue) >= limits.COMMIT_QUEUE or self._weight >= limits.COMMIT_QUEUE_BYTES

    def _stopped(self) -> Overloaded:
        return Overloaded(f"this server stops, and its {self.name} with it: try again")

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                group = self._next_group()
                if not self.full:
                    self._room.set()
                try:
                    await self._commit(group)
                except asyncio.CancelledError:
                    for queued in group:
                        queued.answer(self._stopped())
                    raise
            if self._stopping:
                return

    def _next_group(self) -> list[Queued[T, R]]:
        """As much of the queue as one transaction takes, and one member at least."""
        group: list[Queued[T, R]] = []
        weight = 0
        while self._queue and len(group) < limits.BATCH:
            if group and weight + self._queue[0].weight > limits.BATCH_BYTES:
                break
            group.append(self._queue.popleft())
            weight += group[-1].weight
        self._weight -= weight
        return group

    async def _commit(self, group: Sequence[Queued[T, R]]) -> None:
        began = perf_counter()
        try:
            results = await self._patiently([queued.member for queued in group])
        except Exception as error:
            if len(group) > 1:
                await self._commit(group[: len(group) // 2])
                await self._commit(group[len(group) // 2 :])
                return
            if not isinstance(error, Problem):
                log.error(
                    "%s: a write failed and is reported to whoever asked for it: %s", self.name, _described(error)
                )
            group[0].answer(error)
            return
        self._duration.observe(perf_counter() - began)
        for queued, result in zip(group, results, strict=True):
            queued.done(queued.member, result)

    async def _patiently(self, members: Sequence[T]) -> Sequence[R]:
        """Write, again and again while Postgres is away or in the way; another error is the group's own."""
        try:
            return await self._write(members)
        except TRANSIENT as error:
            return await self._again(members, error)

    async def _again(self, members: Sequence[T], error: Exception) -> Sequence[R]:
        """Go on trying after the first try, which ended in `error`."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(TRANSIENT),
            wait=wait_exponential(0.01, max=2) + wait_random(0, 0.02),
            before_sleep=lambda state: log.warning(
                "%s: Postgres is away or in the way (%s): %d writes are kept, try %d",
                self.name,
                type(state.outcome.exception() if state.outcome else None).__name__,
                len(members),
                state.attempt_number,
            ),
            reraise=True,
        ):
            with attempt:
                if attempt.retry_state.attempt_number == 1:
                    raise error
                return await self._write(members)
        raise AssertionError("retrying ends with a result or an error")


def _resolve(future: asyncio.Future[R | BaseException], _: object, result: R | BaseException) -> None:
    if not future.done():
        future.set_result(result)


def _described(error: Exception) -> str:
    """What failed and where, without the rows that Postgres quotes in its details."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    reason = str(error).partition("\n")[0] if isinstance(error, asyncpg.PostgresError) else ""
    return f"{type(error).__name__} {reason} ({place.filename}:{place.lineno})"
