"""A run's body over a channel: steps, waits, parking, replay and the run's end."""

from __future__ import annotations

import asyncio
import gc
import weakref
from dataclasses import dataclass
from typing import Any

import pytest

from rotor.errors import NonRetriableError, RetryAfterError, StepError
from rotor.protocol.messages import RunCompleted, RunFailed, RunParked, StepDone, StepFailed, StepParked
from rotor.sdk.context import Context
from rotor.sdk.definition import create_function
from rotor.sdk.functions import Function
from tests.sdk.fake_server import FakeServer


def workflow(handler: Any, **options: Any) -> Function[Any, Any]:
    return create_function(id="flow", trigger={"event": "started"}, **options)(handler)


async def test_a_body_runs_its_steps_in_order_and_completes() -> None:
    calls: list[str] = []

    async def fetch(name: str) -> str:
        calls.append(name)
        return name.upper()

    async def body(ctx: Context[Any]) -> list[str]:
        return [await ctx.step.run("a", fetch, "x"), await ctx.step.run("b", fetch, "y")]

    server = FakeServer(workflow(body))
    assert await server.run() == "completed"
    assert server.output == ["X", "Y"]
    assert calls == ["x", "y"]
    assert [type(message) for message in server.sent] == [StepDone, StepDone, RunCompleted]


async def test_a_sleep_parks_in_the_same_frame_and_the_body_goes_on_from_memory() -> None:
    entered = 0

    async def body(ctx: Context[Any]) -> str:
        nonlocal entered
        entered += 1
        await ctx.step.sleep("nap", "1h")
        return "rested"

    server = FakeServer(workflow(body))
    assert await server.run() == "waiting"
    assert [[type(message) for message in frame] for frame in server.frames] == [[StepParked, RunParked]]
    server.settle("nap")
    assert await server.run() == "completed"
    assert server.output == "rested"
    assert entered == 1


async def test_a_replay_runs_nothing_twice() -> None:
    calls: list[str] = []

    def note(name: str) -> str:
        calls.append(name)
        return name

    async def body(ctx: Context[Any]) -> list[str]:
        first = await ctx.step.run("a", note, "a")
        await ctx.step.sleep("nap", 60)
        return [first, await ctx.step.run("b", note, "b")]

    server = FakeServer(workflow(body))
    assert await server.run() == "waiting"
    await server.lose()
    server.settle("nap")
    assert await server.run() == "completed"
    assert server.output == ["a", "b"]
    assert calls == ["a", "b"]


async def test_branches_of_several_steps_with_ordinary_awaits_between() -> None:
    calls: list[str] = []

    async def note(name: str) -> str:
        calls.append(name)
        return name

    async def body(ctx: Context[Any]) -> list[str]:
        async def branch(name: str) -> str:
            first = await ctx.step.run(f"{name}1", note, name + "1")
            await asyncio.sleep(0.02)
            await ctx.step.sleep(f"{name}-nap", "1h")
            await asyncio.sleep(0.01)
            return first + await ctx.step.run(f"{name}2", note, name + "2")

        return await asyncio.gather(*[branch(name) for name in "abc"])

    server = FakeServer(workflow(body))
    assert await server.run() == "waiting"
    assert len(server.waits) == 3
    await server.lose()
    server.settle_all([("a-nap", 0), ("b-nap", 0)])
    assert await server.run() == "waiting"
    server.settle("c-nap")
    assert await server.run() == "completed"
    assert server.output == ["a1a2", "b1b2", "c1c2"]
    assert sorted(calls) == ["a1", "a2", "b1", "b2", "c1", "c2"]


async def test_a_step_that_raises_is_tried_again_and_then_raises_in_the_workflow() -> None:
    tries: list[int] = []

    async def fail() -> None:
        tries.append(1)
        raise ValueError("no luck")

    async def body(ctx: Context[Any]) -> str:
        try:
            await ctx.step.run("a", fail)
        except StepError as error:
            return f"{error.name}: {error.message}"
        return ""

    server = FakeServer(workflow(body, retries=1))
    assert await server.run() == "waiting"
    server.settle("a", status="retrying", attempts=1)
    assert await server.run() == "completed"
    assert server.output == "ValueError: no luck"
    assert len(tries) == 2


@pytest.mark.parametrize("is_async", [True, False])
async def test_every_backoff_of_a_body_that_is_kept_parks_the_run(is_async: bool) -> None:
    def fails() -> None:
        raise ValueError("no")

    async def fails_too() -> None:
        fails()

    async def body(ctx: Context[Any]) -> None:
        await ctx.step.run("a", fails_too if is_async else fails)

    server = FakeServer(workflow(body, retries=5))
    for attempt in (1, 2, 3):
        assert await server.run() == "waiting"
        assert [type(message) for message in server.sent[-2:]] == [StepFailed, RunParked]
        server.settle("a", status="retrying", attempts=attempt)


@pytest.mark.parametrize(
    ("error", "retriable", "after"),
    [(ValueError("x"), True, None), (NonRetriableError("x"), False, None), (RetryAfterError("x", 7), True, 7.0)],
)
async def test_a_body_that_raises_fails_the_run(error: Exception, retriable: bool, after: float | None) -> None:
    async def body(ctx: Context[Any]) -> None:
        raise error

    server = FakeServer(workflow(body, retries=4))
    assert await server.run() == "failed"
    failed = server.sent[-1]
    assert isinstance(failed, RunFailed)
    assert (failed.retriable, failed.retry_after_seconds, failed.retries) == (retriable, after, 4)


async def test_a_result_without_a_json_form_fails_the_step_at_once() -> None:
    async def give() -> object:
        return object()

    async def body(ctx: Context[Any]) -> None:
        await ctx.step.run("a", give)

    server = FakeServer(workflow(body))
    assert await server.run() == "failed"
    failed = server.sent[0]
    assert isinstance(failed, StepFailed)
    assert not failed.retriable


async def twice(value: int) -> int:
    return 2 * value


async def test_a_session_that_has_ended_is_freed_at_once() -> None:
    async def body(ctx: Context[Any]) -> None:
        await ctx.step.run("a", twice, 1)
        await ctx.step.sleep("nap", "1h")

    server = FakeServer(workflow(body))
    await server.run()
    server.settle("nap")
    gc.collect()
    gc.disable()
    try:
        assert await server.run() == "completed"
        ended = weakref.ref(server.session)
        server.session = None
        await asyncio.sleep(0)
        assert ended() is None
    finally:
        gc.enable()


@dataclass
class Report:
    text: str


async def write() -> Report:
    return Report("long")


async def test_a_result_is_freed_as_soon_as_the_body_lets_go_of_it() -> None:
    async def body(ctx: Context[Any]) -> bool:
        report = weakref.ref(await ctx.step.run("write", write))
        await ctx.step.run("a", twice, 1)
        return report() is None

    server = FakeServer(workflow(body))
    gc.collect()
    gc.disable()
    try:
        assert await server.run() == "completed"
    finally:
        gc.enable()
    assert server.output is True


@pytest.mark.parametrize("wait", [asyncio.gather, asyncio.shield], ids=["gather", "shield"])
@pytest.mark.parametrize("depth", [1, 3, 5])
@pytest.mark.parametrize("hops", [0, 1, 3])
async def test_a_branch_that_parks_does_not_park_what_is_about_to_go_on(wait: Any, depth: int, hops: int) -> None:
    async def other(ctx: Context[Any]) -> None:
        await ctx.step.run("b", twice, 1)
        for _ in range(hops):
            await asyncio.sleep(0)
        await ctx.step.sleep("nap", "1h")

    async def body(ctx: Context[Any]) -> str:
        napping = asyncio.create_task(other(ctx))
        waited: Any = asyncio.create_task(ctx.step.run("a", twice, 1))
        for _ in range(depth):
            waited = wait(waited)
        await waited
        napping.cancel()
        return "done"

    server = FakeServer(workflow(body))
    assert await server.run() == "completed"
