"""Which tasks belong to a run, whatever makes them."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from rotor.sdk.branches import Branches, track_tasks
from rotor.sdk.context import Context
from tests.sdk.fake_server import FakeServer
from tests.sdk.test_session import workflow


async def echo(value: str) -> str:
    return value


async def body_of_all_kinds(ctx: Context[Any]) -> list[str]:
    """Branches by every common way, over steps and a sleep."""

    async def branch(name: str) -> str:
        first = await ctx.step.run(f"{name}-1", echo, name)
        await ctx.step.sleep(f"{name}-nap", "1h")
        return first + await ctx.step.run(f"{name}-2", echo, name)

    async with asyncio.TaskGroup() as group:
        grouped = group.create_task(branch("a"), name="named", context=contextvars.copy_context())
        gathered = await asyncio.gather(branch("b"), asyncio.ensure_future(branch("c")))
    return [grouped.result(), *gathered]


async def check() -> None:
    server = FakeServer(workflow(body_of_all_kinds))
    assert await server.run() == "waiting"
    assert len(server.waits) == 3
    server.settle("b-nap")
    assert await server.run() == "waiting"
    await server.lose()
    server.settle("c-nap")
    server.settle("a-nap")
    assert await server.run() == "completed"
    assert server.output == ["aa", "bb", "cc"]
    server.threads.shutdown()


def test_branches_on_the_loop_of_asyncio() -> None:
    asyncio.run(check())


def test_branches_on_uvloop() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(check())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are of Python 3.12")
@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_branches_that_start_eagerly(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def eager() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
        await check()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(eager())


async def test_a_task_factory_of_the_user_keeps_making_the_tasks() -> None:
    made: list[Any] = []

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
        made.append(task)
        return task

    asyncio.get_running_loop().set_task_factory(factory)
    await check()
    assert len(made) > 3


async def test_the_factory_is_installed_once() -> None:
    loop = asyncio.get_running_loop()
    track_tasks(loop)
    factory = loop.get_task_factory()
    track_tasks(loop)
    assert loop.get_task_factory() is factory


async def test_tasks_outside_of_workflows_are_left_alone() -> None:
    track_tasks(asyncio.get_running_loop())
    branches = Branches("run", lambda: None)
    task = asyncio.create_task(asyncio.sleep(0))
    await task
    assert task not in branches.live
    assert not branches.live
