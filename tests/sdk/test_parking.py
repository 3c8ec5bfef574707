"""What a task waits for: other branches of its run, or something outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from rotor.sdk.branches import Branches, track_tasks
from rotor.sdk.parking import blocked, timed

Wait = Callable[[], Coroutine[Any, Any, Any]]

MODULE_LOCK = asyncio.Semaphore(0)
OTHER_MODULE_LOCK = asyncio.Semaphore(0)


def inner() -> asyncio.Task[None]:
    """A branch that waits for nothing of interest; what is tested is who waits for it."""
    return asyncio.create_task(forever(), name="inner")


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def verdict(wait: Wait) -> tuple[bool, bool]:
    """Whether a task that runs `wait` waits for branches alone, and whether a timeout will wake it."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    track_tasks(loop)
    branches = Branches("run", lambda: None)
    task = branches.start(run(wait), "outer")
    try:
        for _ in range(10):
            await asyncio.sleep(0)
        loose = {one for one in branches.loose if one is task or one.get_name() == "judged"}
        return blocked(branches, loose), timed(task)
    finally:
        for one in list(branches.live):
            one.cancel()
        await asyncio.gather(*branches.live, return_exceptions=True)
        loop.set_task_factory(before)


async def run(wait: Wait) -> None:
    await wait()


async def waits_for_a_task() -> None:
    await inner()


async def gathers() -> None:
    await asyncio.gather(inner(), asyncio.gather(inner(), inner()))


async def waits() -> None:
    await asyncio.wait([inner(), inner()])


async def waits_for_the_first() -> None:
    await asyncio.wait([inner(), inner()], return_when=asyncio.FIRST_COMPLETED)


async def takes_them_as_completed() -> None:
    for next_done in asyncio.as_completed([inner(), inner()]):
        await next_done


async def shields() -> None:
    await asyncio.shield(inner())


async def shields_a_gather() -> None:
    await asyncio.shield(asyncio.gather(inner(), inner()))


async def groups() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(forever(), name="inner")


async def groups_of_anyio() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(forever)


async def waits_without_a_timeout() -> None:
    async with asyncio.timeout(None):
        await asyncio.wait_for(inner(), None)


async def waits_at_a_queue() -> None:
    queue: asyncio.Queue[None] = asyncio.Queue()
    await queue.get()


async def joins_a_queue() -> None:
    queue: asyncio.Queue[None] = asyncio.Queue()
    queue.put_nowait(None)
    await queue.join()


async def waits_at_an_event_in_a_list() -> None:
    events = [asyncio.Event()]
    await events[0].wait()


async def waits_at_a_condition() -> None:
    condition = asyncio.Condition()
    async with condition:
        await condition.wait()


async def enters_a_lock() -> None:
    lock = asyncio.Semaphore(0)
    async with lock:
        pass


async def waits_at_a_barrier() -> None:
    barrier = asyncio.Barrier(2)
    await barrier.wait()


async def waits_in_a_generator() -> None:
    async def generate() -> AsyncIterator[None]:
        await inner()
        yield

    async for _ in generate():
        pass


async def waits_through_an_awaitable_object() -> None:
    class Result:
        def __await__(self) -> Any:
            return waits_for_a_task().__await__()

    await Result()


async def waits_after_a_timeout_has_passed() -> None:
    async with asyncio.timeout(60) as limit:
        await asyncio.sleep(0)
    assert limit.when() is not None
    await inner()


async def waits_beside_something_with_a_deadline() -> None:
    nothing, job = None, SimpleNamespace(deadline=5.0)
    await inner()
    assert (nothing, job.deadline) == (None, 5.0)


INSIDE = [
    waits_for_a_task,
    gathers,
    waits,
    waits_for_the_first,
    takes_them_as_completed,
    shields,
    shields_a_gather,
    groups,
    groups_of_anyio,
    waits_without_a_timeout,
    waits_at_a_queue,
    joins_a_queue,
    waits_at_an_event_in_a_list,
    waits_at_a_condition,
    enters_a_lock,
    waits_at_a_barrier,
    waits_in_a_generator,
    waits_through_an_awaitable_object,
    waits_after_a_timeout_has_passed,
    waits_beside_something_with_a_deadline,
]


@pytest.mark.parametrize("wait", INSIDE, ids=lambda wait: wait.__name__)
async def test_waiting_for_branches_is_inside(wait: Wait) -> None:
    assert await verdict(wait) == (True, False)


async def sleeps() -> None:
    await asyncio.sleep(3_600)


async def gathers_a_bare_future() -> None:
    await asyncio.gather(inner(), asyncio.get_running_loop().create_future())


async def waits_for_a_bare_future() -> None:
    await asyncio.wait([asyncio.get_running_loop().create_future()])


async def shields_a_bare_future() -> None:
    await asyncio.shield(asyncio.get_running_loop().create_future())


async def waits_for_a_thread() -> None:
    waiting = asyncio.get_running_loop().create_future()
    await waiting


async def waits_at_a_semaphore_of_its_module() -> None:
    async with MODULE_LOCK:
        pass


async def waits_at_a_semaphore_of_its_module_by_another_name(lock: asyncio.Semaphore = OTHER_MODULE_LOCK) -> None:
    async with lock:
        pass


class Pool:
    def __init__(self) -> None:
        self._free: asyncio.Queue[None] = asyncio.Queue()

    async def acquire(self) -> None:
        await self._free.get()


async def waits_for_a_connection_of_a_pool() -> None:
    pool = Pool()
    await pool.acquire()


async def waits_for_a_foreign_task() -> None:
    await OUTSIDE_TASKS[-1]


OUTSIDE_TASKS: list[asyncio.Task[None]] = []

OUTSIDE = [
    sleeps,
    gathers_a_bare_future,
    waits_for_a_bare_future,
    shields_a_bare_future,
    waits_for_a_thread,
    waits_at_a_semaphore_of_its_module,
    waits_at_a_semaphore_of_its_module_by_another_name,
    waits_for_a_connection_of_a_pool,
    waits_for_a_foreign_task,
]


@pytest.mark.parametrize("wait", OUTSIDE, ids=lambda wait: wait.__name__)
async def test_anything_else_is_outside(wait: Wait) -> None:
    foreign = asyncio.create_task(forever())
    OUTSIDE_TASKS.append(foreign)
    try:
        assert await verdict(wait) == (False, False)
    finally:
        foreign.cancel()


async def is_under_a_timeout() -> None:
    async with asyncio.timeout(60):
        await inner()


async def is_under_a_timeout_further_out() -> None:
    async with asyncio.timeout(60):
        await run(waits_for_a_task)


async def is_waited_for_with_a_timeout() -> None:
    await asyncio.wait_for(waits_for_a_task(), 60)


async def is_under_a_timeout_in_a_context_manager() -> None:
    @asynccontextmanager
    async def limited() -> AsyncIterator[None]:
        async with asyncio.timeout(60):
            yield

    async with limited():
        await inner()


async def is_under_a_timeout_in_an_exit_stack() -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(60))
        await inner()


async def is_under_anyio_fail_after() -> None:
    with anyio.fail_after(60):
        await inner()


async def is_under_a_cancel_scope_of_anyio() -> None:
    with suppress(ValueError), anyio.CancelScope(deadline=anyio.current_time() + 60):
        await inner()


async def is_under_a_timeout_in_a_generator() -> None:
    async def generate() -> AsyncIterator[None]:
        async with asyncio.timeout(60):
            await inner()
            yield

    async for _ in generate():
        pass


TIMED = [
    is_under_a_timeout,
    is_under_a_timeout_further_out,
    is_waited_for_with_a_timeout,
    is_under_a_timeout_in_a_context_manager,
    is_under_a_timeout_in_an_exit_stack,
    is_under_anyio_fail_after,
    is_under_a_cancel_scope_of_anyio,
    is_under_a_timeout_in_a_generator,
]


@pytest.mark.parametrize("wait", TIMED, ids=lambda wait: wait.__name__)
async def test_a_timeout_that_runs_is_seen(wait: Wait) -> None:
    assert await verdict(wait) == (False, True)


async def waits_with_a_timeout() -> None:
    await asyncio.wait([inner()], timeout=60)


async def takes_them_as_completed_with_a_timeout() -> None:
    for next_done in asyncio.as_completed([inner()], timeout=60):
        await next_done


@pytest.mark.parametrize(
    "wait", [waits_with_a_timeout, takes_them_as_completed_with_a_timeout], ids=lambda wait: wait.__name__
)
async def test_waiting_for_branches_with_a_timeout_is_outside(wait: Wait) -> None:
    blocked_inside, _ = await verdict(wait)
    assert not blocked_inside


async def test_context_managers_without_a_deadline_are_no_timeouts() -> None:
    @contextmanager
    def plain() -> Any:
        yield

    async def wait() -> None:
        with plain(), anyio.CancelScope():
            async with AsyncExitStack() as stack:
                stack.enter_context(suppress(ValueError))
                await inner()

    assert await verdict(wait) == (True, False)
