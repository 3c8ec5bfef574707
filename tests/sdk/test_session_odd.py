"""Odd programs under plain asyncio: each ends the same whether its body is kept in memory or replayed at every wake."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import anyio
import pytest
import uvloop

from rotor.errors import StepError
from rotor.sdk.context import Context
from tests.sdk.fake_server import FakeServer
from tests.sdk.test_session import workflow

Body = Callable[[Context[Any]], Awaitable[Any]]


async def echo(value: Any) -> Any:
    return value


async def finish(body: Body, *wakes: str, kept: bool) -> tuple[str, Any, list[Any]]:
    """How the run ends, what it gives, and which steps are on record; `wakes` are the waits that end, in order."""
    server = FakeServer(workflow(body), keep=kept)
    status = await server.run()
    for wake in wakes:
        assert status == "waiting", server.error
        if not kept:
            await server.lose()
        server.settle(wake)
        status = await server.run()
    assert status == "completed", server.error
    return status, server.output, sorted((*key, memo.status) for key, memo in server.steps.items())


async def ends_alike(body: Body, *wakes: str) -> Any:
    """What `body` gives, kept or replayed."""
    kept = await finish(body, *wakes, kept=True)
    replayed = await finish(body, *wakes, kept=False)
    assert kept == replayed
    return kept[1]


async def test_a_task_group_within_a_task_group_of_which_the_inner_one_fails() -> None:
    async def fails(ctx: Context[Any]) -> None:
        await ctx.step.run("quick", echo, 1)
        raise ValueError

    async def body(ctx: Context[Any]) -> list[str]:
        seen = []
        async with asyncio.TaskGroup() as outer:
            nap = outer.create_task(ctx.step.sleep("nap", 60))
            try:
                async with asyncio.TaskGroup() as inner:
                    inner.create_task(ctx.step.sleep("never", 3600))
                    inner.create_task(fails(ctx))
            except* ValueError:
                seen.append("inner")
            await nap
            seen.append(await ctx.step.run("after", echo, "outer"))
        return seen

    assert await ends_alike(body, "nap") == ["inner", "outer"]


async def test_a_task_that_outlives_the_gather_that_failed() -> None:
    async def fails(ctx: Context[Any]) -> None:
        await ctx.step.sleep("short", 1)
        raise ValueError

    async def body(ctx: Context[Any]) -> str:
        slow = asyncio.create_task(ctx.step.sleep("long", 60))
        with suppress(ValueError):
            await asyncio.gather(slow, fails(ctx))
        await slow
        return "both"

    assert await ends_alike(body, "short", "long") == "both"


async def test_a_timeout_around_a_gather_withdraws_each_of_its_waits() -> None:
    async def body(ctx: Context[Any]) -> str:
        try:
            async with asyncio.timeout(0.02):
                await asyncio.gather(ctx.step.sleep("a", 60), ctx.step.sleep("b", 60))
        except TimeoutError:
            await ctx.step.sleep("c", 1)
            return await ctx.step.run("late", echo, "timed out")
        return "no"

    assert await ends_alike(body, "c") == "timed out"


async def test_context_variables_go_from_branch_to_step_and_not_back() -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    async def read() -> str:
        seen = variable.get()
        variable.set("the step's")
        return seen

    async def branch(ctx: Context[Any], value: str) -> list[str]:
        variable.set(value)
        await ctx.step.sleep("nap " + value, 1)
        return [await ctx.step.run("read", read), variable.get()]

    async def body(ctx: Context[Any]) -> list[Any]:
        return [*await asyncio.gather(branch(ctx, "a"), branch(ctx, "b")), variable.get()]

    output = await ends_alike(body, "nap a", "nap b")
    assert output == [["a", "a"], ["b", "b"], "outside"]


async def test_steps_inside_a_lock_and_a_semaphore_are_taken_one_after_the_other() -> None:
    async def branch(ctx: Context[Any], lock: asyncio.Lock, number: int, order: list[int]) -> None:
        async with lock:
            await ctx.step.sleep("nap", 1)
            order.append(await ctx.step.run("in turn", echo, number))

    async def body(ctx: Context[Any]) -> list[int]:
        lock, order = asyncio.Lock(), list[int]()
        await asyncio.gather(*(branch(ctx, lock, number, order) for number in range(2)))
        return order

    server = FakeServer(workflow(body), keep=False)
    assert await server.run() == "waiting"
    server.settle("nap", 0)
    assert await server.run() == "waiting"
    server.settle("nap", 1)
    assert await server.run() == "completed"
    assert server.output == [0, 1]


async def test_a_step_in_finally_is_taken_where_the_body_ends_and_not_where_it_is_only_left() -> None:
    async def body(ctx: Context[Any]) -> str:
        try:
            await ctx.step.sleep("nap", 1)
            raise ValueError
        except ValueError:
            return "mended"
        finally:
            await ctx.step.run("clean up", echo, "clean")

    assert await ends_alike(body, "nap") == "mended"


async def test_an_async_generator_that_nobody_finishes_leaves_nothing_open() -> None:
    async def numbers(ctx: Context[Any]) -> AsyncIterator[int]:
        try:
            for number in range(3):
                await ctx.step.sleep(f"nap {number}", 1)
                yield number
        finally:
            await asyncio.sleep(0)

    async def body(ctx: Context[Any]) -> int:
        async for number in numbers(ctx):
            if number == 1:
                break
        gc.collect()
        return await ctx.step.run("last", echo, number)

    assert await ends_alike(body, "nap 0", "nap 1") == 1


async def test_task_groups_of_anyio_and_their_cancel_scopes() -> None:
    async def body(ctx: Context[Any]) -> str:
        async with anyio.create_task_group() as group:

            async def first(name: str) -> None:
                await ctx.step.sleep(name, 1)
                group.cancel_scope.cancel()

            group.start_soon(first, "short")
            group.start_soon(first, "long")
        return await ctx.step.run("after", echo, "through")

    assert await ends_alike(body, "short") == "through"


async def test_a_branch_that_is_awaited_by_two_others() -> None:
    async def body(ctx: Context[Any]) -> list[int]:
        shared = asyncio.create_task(ctx.step.run("once", echo, 7))

        async def reader(name: str) -> int:
            value = await shared
            await ctx.step.sleep(name, 1)
            return int(value)

        return list(await asyncio.gather(reader("x"), reader("y")))

    assert await ends_alike(body, "x", "y") == [7, 7]


async def test_a_condition_and_a_barrier_between_branches() -> None:
    async def body(ctx: Context[Any]) -> list[str]:
        condition, barrier, said = asyncio.Condition(), asyncio.Barrier(2), list[str]()

        async def waits() -> None:
            async with condition:
                await condition.wait_for(lambda: bool(said))
            await barrier.wait()

        async def says() -> None:
            await ctx.step.sleep("nap", 1)
            async with condition:
                said.append(await ctx.step.run("say", echo, "now"))
                condition.notify_all()
            await barrier.wait()

        await asyncio.gather(waits(), says())
        return said

    assert await ends_alike(body, "nap") == ["now"]


async def test_a_branch_that_is_cancelled_and_asked_to_stay_goes_on() -> None:
    async def stubborn(ctx: Context[Any]) -> str:
        try:
            await ctx.step.sleep("given up", 3600)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            assert current is not None
            current.uncancel()
        await ctx.step.sleep("instead", 1)
        return "stayed"

    async def body(ctx: Context[Any]) -> str:
        task = asyncio.create_task(stubborn(ctx))
        await ctx.step.run("first", echo, 0)
        task.cancel()
        return await task

    assert await ends_alike(body, "instead") == "stayed"


async def test_a_step_called_from_another_thread_is_refused_by_name() -> None:
    async def body(ctx: Context[Any]) -> str:
        loop = asyncio.get_running_loop()

        def elsewhere() -> None:
            asyncio.run_coroutine_threadsafe(ctx.step.run("far", echo, 1), loop).result()

        try:
            await loop.run_in_executor(None, elsewhere)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "no"

    server = FakeServer(workflow(body))
    assert await server.run() == "completed"
    assert "NonRetriableError" in server.output
    assert "step.run('far') was called outside its workflow" in server.output


async def test_a_step_called_on_an_event_loop_of_another_thread_is_refused_by_name() -> None:
    async def body(ctx: Context[Any]) -> str:
        with ThreadPoolExecutor() as threads:
            here = contextvars.copy_context()
            return str(threads.submit(here.run, asyncio.run, ctx.step.run("far", echo, 1)).exception())

    server = FakeServer(workflow(body))
    assert await server.run() == "completed"
    assert "step.run('far') was called outside its workflow" in server.output


async def test_a_step_that_failed_is_caught_and_another_taken_in_its_place() -> None:
    async def fails() -> None:
        raise ValueError("no")

    async def body(ctx: Context[Any]) -> str:
        try:
            await ctx.step.run("a", fails, retries=0)
        except StepError as error:
            await ctx.step.sleep("nap", 1)
            return await ctx.step.run("b", echo, error.name)
        return "no"

    assert await ends_alike(body, "nap") == "ValueError"


ODD = [
    test_a_task_group_within_a_task_group_of_which_the_inner_one_fails,
    test_a_timeout_around_a_gather_withdraws_each_of_its_waits,
    test_steps_inside_a_lock_and_a_semaphore_are_taken_one_after_the_other,
    test_an_async_generator_that_nobody_finishes_leaves_nothing_open,
    test_a_condition_and_a_barrier_between_branches,
    test_a_step_called_from_another_thread_is_refused_by_name,
    test_a_step_called_on_an_event_loop_of_another_thread_is_refused_by_name,
]


def test_all_of_it_on_uvloop() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for program in ODD:
            runner.run(program())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are of Python 3.12")
def test_all_of_it_with_eager_tasks() -> None:
    with asyncio.Runner() as runner:
        runner.get_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
        for program in ODD:
            runner.run(program())
