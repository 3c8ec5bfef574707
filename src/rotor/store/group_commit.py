"""Group commit: what arrives while one transaction is in flight is written together by the next.

One bad member never poisons its group: where a group fails, its members are written alone and each is answered for
itself. Where Postgres cannot be reached, the group is kept and tried again: its members wait, and nothing of them is
lost.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential_jitter

from rotor import limits
from rotor.store.problems import Overloaded, Problem

__all__ = ["GroupCommit", "TryAgain"]

log = logging.getLogger("rotor.store")

T = TypeVar("T")
R = TypeVar("R")
Done = Callable[[R | BaseException], None]


class TryAgain(Exception):  # noqa: N818
    """Another transaction came between; the same group does it at the next try."""


TRANSIENT = (
    TryAgain,
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
)


class GroupCommit(Generic[T, R]):
    """A queue and the loop that writes it in groups. `write` gets a group and returns a result a member, in order."""

    def __init__(self, name: str, write: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        self.name = name
        self._write = write
        self._queue: deque[tuple[T, Done[R]]] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"rotor {self.name}")

    async def stop(self) -> None:
        """Write what is queued, then end."""
        self._stopping = True
        self._arrived.set()
        if self._task is not None:
            await self._task

    async def submit(self, member: T) -> R:
        """Return `member`'s result once it is durable. Raises `Overloaded` where the queue is full."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()

        def done(result: R | BaseException) -> None:
            if future.done():
                return
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)

        if len(self._queue) >= limits.COMMIT_QUEUE:
            raise Overloaded(
                f"{limits.COMMIT_QUEUE:,} writes wait for {self.name} (COMMIT_QUEUE): try again in a moment"
            )
        self.put(member, done)
        return await future

    def put(self, member: T, done: Done[R]) -> None:
        """Queue `member`; `done` is called with its result once it is durable, or with why it is not."""
        self._queue.append((member, done))
        self._arrived.set()
        if len(self._queue) >= limits.COMMIT_QUEUE:
            self._room.clear()

    async def room(self) -> None:
        """Wait until the queue is below its limit: for those who can hold back their senders."""
        await self._room.wait()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                group = [self._queue.popleft() for _ in range(min(len(self._queue), limits.BATCH))]
                if len(self._queue) < limits.COMMIT_QUEUE:
                    self._room.set()
                await self._commit(group)
            if self._stopping:
                return

    async def _commit(self, group: list[tuple[T, Done[R]]]) -> None:
        try:
            results = await self._patiently([member for member, _ in group])
        except Exception as error:
            if len(group) > 1:
                for one in group:
                    await self._commit([one])
                return
            if not isinstance(error, Problem):
                log.error(
                    "%s: a write failed and is reported to whoever asked for it: %s", self.name, _described(error)
                )
            group[0][1](error)
            return
        for (_, done), result in zip(group, results, strict=True):
            done(result)

    async def _patiently(self, members: Sequence[T]) -> Sequence[R]:
        """Write, again and again while Postgres is away or in the way; another error is the group's own."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(TRANSIENT),
            wait=wait_exponential_jitter(multiplier=0.02, max=2),
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
                return await self._write(members)
        raise AssertionError("retrying ends with a result or an error")


def _described(error: Exception) -> str:
    """What failed and where, without the rows that Postgres quotes in its details."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    reason = str(error).partition("\n")[0] if isinstance(error, asyncpg.PostgresError) else ""
    return f"{type(error).__name__} {reason} ({place.filename}:{place.lineno})"
