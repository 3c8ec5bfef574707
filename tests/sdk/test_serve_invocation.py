"""One invocation goes as far as it can without waiting, and loses nothing when its server is out of reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web

from rotor import Context, create_function
from rotor.protocol.invocations import Invocation
from rotor.protocol.json import Raw
from rotor.protocol.messages import (
    CancelRun,
    DropRun,
    Memo,
    RunCancelled,
    RunCompleted,
    RunMessage,
    RunParked,
    RunReleased,
    Settled,
    StepDone,
    StepParked,
)
from rotor.sdk.functions import Function
from rotor.sdk.serve.invocation import Invoker
from tests.sdk.servers import serving
from tests.sdk.serving import KEY, CheckpointServer, blocking, double, doubler, invocation, sleeper

DONE = Memo(id="double", index=0, op="run", status="completed", output=Raw(b"6"), group=1)


@pytest.fixture
async def server() -> AsyncIterator[CheckpointServer]:
    double = CheckpointServer()
    async with serving(double) as double.url:
        yield double


@pytest.fixture
def invoker() -> Invoker:
    return Invoker([KEY], threads=2)


async def run(
    invoker: Invoker, function: Function[Any, Any], url: str, *memo: Memo, number: int = 3
) -> list[RunMessage]:
    body = invocation(function.id, {"number": number}, url, memo)
    return (await invoker.run(function, msgspec.json.decode(body, type=Invocation))).messages


async def test_each_step_is_committed_before_the_next_and_the_end_rides_in_the_answer(
    server: CheckpointServer, invoker: Invoker
) -> None:
    messages = await run(invoker, doubler, server.url)
    steps = [
        [(message.id, message.output) for message in frame if isinstance(message, StepDone)] for frame in server.frames
    ]
    assert steps == [[("double", Raw(b"6"))], [("again", Raw(b"12"))]]
    assert messages == [RunCompleted(run_id="r1", n=3, output=Raw(b"12"))]


async def test_a_blocking_function_is_served_alike(server: CheckpointServer, invoker: Invoker) -> None:
    messages = await run(invoker, blocking, server.url)
    assert messages == [RunCompleted(run_id="r1", n=2, output=Raw(b"6"))]


async def test_recorded_steps_are_not_run_again(server: CheckpointServer, invoker: Invoker) -> None:
    messages = await run(invoker, doubler, server.url, DONE)
    assert [[message.id for message in frame if isinstance(message, StepDone)] for frame in server.frames] == [
        ["again"]
    ]
    assert isinstance(messages[0], RunCompleted)


async def test_a_run_that_waits_is_given_back_parked(server: CheckpointServer, invoker: Invoker) -> None:
    messages = await run(invoker, sleeper, server.url)
    assert [[type(message) for message in frame] for frame in server.frames] == [[StepDone]]
    waiting, parked = messages
    assert isinstance(waiting, StepParked)
    assert isinstance(parked, RunParked)
    assert not parked.kept


async def test_steps_side_by_side_go_in_one_frame(server: CheckpointServer, invoker: Invoker) -> None:
    @create_function(id="wide", trigger={"event": "x"})
    async def wide(ctx: Context[Any]) -> list[int]:
        async def at_once(number: int) -> int:
            return number

        return await asyncio.gather(*(ctx.step.run("one", at_once, number) for number in range(50)))

    messages = await run(invoker, wide, server.url)
    assert isinstance(messages[-1], RunCompleted)
    assert max(len(frame) for frame in server.frames) >= 25


async def test_without_the_call_back_what_is_done_rides_in_the_answer_and_the_run_is_given_back(
    server: CheckpointServer, invoker: Invoker
) -> None:
    ran: list[int] = []

    def note(number: int) -> int:
        ran.append(number)
        return number

    @create_function(id="pair", trigger={"event": "x"})
    async def pair(ctx: Context[Any]) -> None:
        await asyncio.gather(ctx.step.run("a", note, 1), ctx.step.run("b", note, 2))
        await ctx.step.run("c", note, 3)

    server.stumble = lambda _: web.Response(status=503)
    messages = await run(invoker, pair, server.url)
    assert [message.id for message in messages if isinstance(message, StepDone)] == ["a", "b"]
    assert isinstance(messages[-1], RunReleased)
    assert [message.n for message in messages] == [1, 2, 3]
    assert sorted(ran) == [1, 2]


async def test_a_call_back_that_fails_once_is_made_again(server: CheckpointServer, invoker: Invoker) -> None:
    answers = [web.Response(status=502)]
    server.stumble = lambda _: answers.pop() if answers else None
    # Whoever invoked it may be gone: the last message is posted, too.
    assert await run(invoker, doubler, server.url) == []
    assert isinstance(server.frames[-1][-1], RunCompleted)


async def test_a_lost_lease_ends_the_invocation_with_nothing_said(server: CheckpointServer, invoker: Invoker) -> None:
    server.also.append(DropRun(run_id="r1", reason="lease lost"))
    assert await run(invoker, doubler, server.url) == []
    assert len(server.frames) == 1


async def test_a_lease_that_is_lost_while_more_is_ready_ends_the_invocation_too(
    server: CheckpointServer, invoker: Invoker
) -> None:
    ended = asyncio.Event()

    async def later() -> None:
        await server.is_asked.wait()
        ended.set()

    async def at_once() -> None: ...

    @create_function(id="two", trigger={"event": "x"})
    async def two(ctx: Context[Any]) -> None:
        await asyncio.gather(ctx.step.run("at once", at_once), ctx.step.run("later", later))

    server.open.clear()
    server.also.append(DropRun(run_id="r1", reason="lease lost"))
    running = asyncio.create_task(run(invoker, two, server.url))
    await ended.wait()
    await asyncio.sleep(0.01)
    server.open.set()
    async with asyncio.timeout(60):
        assert await running == []


async def test_a_run_that_is_told_of_a_settled_wait_as_it_would_park_goes_on(
    server: CheckpointServer, invoker: Invoker
) -> None:
    @create_function(id="overtaken", trigger={"event": "x"})
    async def overtaken(ctx: Context[Any]) -> None:
        async def short() -> None:
            await ctx.step.sleep("short", "1s")
            await ctx.step.run("double", double, 1)

        async def long() -> None:
            await server.is_asked.wait()
            await ctx.step.sleep("long", "1h")

        await asyncio.gather(short(), long())

    server.open.clear()
    slept = Memo(id="short", index=0, op="sleep", status="completed", group=2)
    server.also.append(Settled(run_id="r1", memo=[slept], settled=1))
    running = asyncio.create_task(run(invoker, overtaken, server.url))
    await server.is_asked.wait()
    await asyncio.sleep(0.01)
    server.open.set()
    async with asyncio.timeout(60):
        messages = await running
    assert [message.id for frame in server.frames for message in frame if isinstance(message, StepDone)] == ["double"]
    assert isinstance(messages[-1], RunParked)


@pytest.mark.parametrize("status", [200, 401, 404])
async def test_a_call_back_that_a_stranger_answers_is_as_good_as_none(
    server: CheckpointServer, invoker: Invoker, status: int
) -> None:
    server.stumble = lambda _: web.Response(text="<h1>Welcome to our shop</h1>", status=status)
    done, released = await run(invoker, doubler, server.url)
    assert isinstance(done, StepDone)
    assert isinstance(released, RunReleased)


async def test_cancelling_stops_before_the_next_step(server: CheckpointServer, invoker: Invoker) -> None:
    server.also.append(CancelRun(run_id="r1"))
    messages = await run(invoker, doubler, server.url)
    assert isinstance(messages[-1], RunCancelled)
    assert len(server.frames) == 1


async def test_a_caller_that_goes_away_leaves_no_body_behind(server: CheckpointServer, invoker: Invoker) -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    @create_function(id="hanging", trigger={"event": "x"})
    async def hanging(ctx: Context[Any]) -> None:
        await ctx.step.run("hang", hang)

    task = asyncio.create_task(run(invoker, hanging, server.url))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(left.wait(), 60)


async def test_where_the_caller_has_hung_up_the_last_message_is_posted_too(
    server: CheckpointServer, invoker: Invoker
) -> None:
    body = msgspec.json.decode(invocation("doubler", {"number": 3}, server.url), type=Invocation)
    assert (await invoker.run(doubler, body, lambda: True)).messages == []
    assert isinstance(server.frames[-1][-1], RunCompleted)


async def test_an_invocation_that_is_to_be_announced_is_before_its_body_begins(
    server: CheckpointServer, invoker: Invoker
) -> None:
    body = msgspec.json.decode(invocation("doubler", {"number": 3}, server.url), type=Invocation)
    answer = await invoker.run(doubler, msgspec.structs.replace(body, announce=True))
    assert isinstance(answer.messages[-1], RunCompleted)
    assert [len(frame) for frame in server.frames] == [0, 1, 1]


async def test_an_announcement_that_reaches_nobody_keeps_no_body_from_running(
    server: CheckpointServer, invoker: Invoker
) -> None:
    server.stumble = lambda _: web.Response(status=404)
    body = msgspec.json.decode(invocation("doubler", {"number": 3}, server.url), type=Invocation)
    answer = await invoker.run(doubler, msgspec.structs.replace(body, announce=True))
    assert [type(message) for message in answer.messages] == [StepDone, RunReleased]
