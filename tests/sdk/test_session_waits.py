"""What a body does with several waits: races, groups of tasks, timeouts, cancelled losers, and replays of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from rotor.errors import (
    SignalConflictError,
    SignalTimeoutError,
    StepError,
    StepMismatchError,
    UnknownFunctionError,
    WorkflowCancelledError,
    WorkflowFailedError,
    WorkflowTimeoutError,
)
from rotor.protocol.messages import Error, RunParked, StepDone, StepParked, StepWithdrawn
from rotor.sdk.context import Context
from rotor.sdk.outcomes import Event, InvokeResult
from tests.sdk.fake_server import FakeServer
from tests.sdk.test_session import workflow

Body = Context[Any]


async def echo(value: str) -> str:
    return value


async def replayed(server: FakeServer) -> Any:
    """What the body makes of the same records, in a process that has just started."""
    live = server.status, server.output
    server.status, server.session, server.frames = "queued", None, []
    await server.run()
    assert not [message for message in server.sent if isinstance(message, StepDone | StepParked | StepWithdrawn)]
    assert (server.status, server.output) == live
    return server.output


async def test_a_task_group_of_waits_parks_and_goes_on() -> None:
    async def body(ctx: Body) -> list[str]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(branch(ctx, name)) for name in "ab"]
        return [task.result() for task in tasks]

    async def branch(ctx: Body, name: str) -> str:
        await ctx.step.sleep(f"nap-{name}", "1h")
        return await ctx.step.run(f"run-{name}", echo, name)

    server = FakeServer(workflow(body))
    assert await server.run() == "waiting"
    server.settle("nap-b")
    assert await server.run() == "waiting"
    server.settle("nap-a")
    assert await server.run() == "completed"
    assert server.output == ["a", "b"]
    await replayed(server)


async def test_a_race_ends_on_replay_as_it_ended_live() -> None:
    async def body(ctx: Body) -> list[str]:
        async def branch(name: str) -> str:
            await ctx.step.sleep(f"nap-{name}", "1h")
            return await ctx.step.run(f"run-{name}", echo, name)

        tasks = [asyncio.create_task(branch(name)) for name in "abc"]
        return [await next_done for next_done in asyncio.as_completed(tasks)]

    server = FakeServer(workflow(body))
    await server.run()
    for name in "cab":
        server.settle(f"nap-{name}")
        await server.run()
    assert server.output == ["c", "a", "b"]
    assert await replayed(server) == ["c", "a", "b"]


async def test_the_cancelled_loser_of_a_race_is_withdrawn_and_loses_again_on_replay() -> None:
    async def body(ctx: Body) -> str:
        event = asyncio.create_task(ctx.step.wait_for_event("reply", event="replied", timeout="7d"))
        nap = asyncio.create_task(ctx.step.sleep("nap", "1h"))
        done, pending = await asyncio.wait([event, nap], return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await ctx.step.run("after", echo, "x")
        return "event" if event in done else "nap"

    server = FakeServer(workflow(body))
    assert await server.run() == "waiting"
    server.settle("nap")
    assert await server.run() == "completed"
    assert server.output == "nap"
    assert server.steps["reply", 0].status == "cancelled"
    assert await replayed(server) == "nap"


async def test_both_racers_settled_while_nobody_held_the_run_are_handed_out_in_order() -> None:
    async def body(ctx: Body) -> str:
        tasks = {asyncio.create_task(ctx.step.sleep(name, "1h"), name=name) for name in "ab"}
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return ",".join(sorted(task.get_name() for task in done))

    server = FakeServer(workflow(body))
    await server.run()
    server.settle("b")
    server.settle("a")
    await server.lose()
    assert await server.run() == "completed"
    assert server.output == "b"


async def test_a_timeout_around_a_wait_fires_and_the_wait_is_withdrawn() -> None:
    async def body(ctx: Body) -> str:
        try:
            async with asyncio.timeout(0.05):
                await ctx.step.sleep("nap", "1h")
        except TimeoutError:
            return await ctx.step.run("late", echo, "timed out")
        return ""

    server = FakeServer(workflow(body))
    assert await server.run() == "completed"
    assert server.output == "timed out"
    assert server.steps["nap", 0].status == "cancelled"
    assert not [message for message in server.sent if isinstance(message, RunParked)]
    assert await replayed(server) == "timed out"


async def test_wait_for_around_a_wait_fires() -> None:
    async def body(ctx: Body) -> str:
        try:
            await asyncio.wait_for(ctx.step.sleep("nap", "1h"), 0.05)
        except TimeoutError:
            return "timed out"
        return ""

    server = FakeServer(workflow(body))
    assert await server.run() == "completed"
    assert server.output == "timed out"


async def test_a_shielded_step_outlives_the_cancellation_of_its_waiter() -> None:
    async def body(ctx: Body) -> str:
        inner = asyncio.create_task(ctx.step.run("inner", echo, "kept"))

        async def outer() -> None:
            await asyncio.shield(inner)

        task = asyncio.create_task(outer())
        await asyncio.sleep(0)
        task.cancel()
        return await inner

    server = FakeServer(workflow(body))
    assert await server.run() == "completed"
    assert server.output == "kept"


async def test_a_shielded_wait_parks() -> None:
    async def body(ctx: Body) -> str:
        await asyncio.shield(ctx.step.sleep("nap", "1h"))
        return "rested"

    server = FakeServer(workflow(body))
    assert await server.run() == "waiting"
    server.settle("nap")
    assert await server.run() == "completed"


async def test_branches_that_meet_at_a_queue_a_lock_and_an_event_park() -> None:
    async def body(ctx: Body) -> list[str]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        lock, ready = asyncio.Lock(), asyncio.Event()

        async def produce() -> None:
            async with lock:
                await ctx.step.sleep("nap", "1h")
                await queue.put("item")
                ready.set()

        async def locked() -> str:
            async with lock:
                return "locked"

        async def waits() -> str:
            await ready.wait()
            return "ready"

        producer = asyncio.create_task(produce())
        await asyncio.sleep(0)
        met = await asyncio.gather(queue.get(), locked(), waits())
        await producer
        return list(met)

    server = FakeServer(workflow(body))
    assert await server.run() == "waiting"
    server.settle("nap")
    assert await server.run() == "completed"
    assert server.output == ["item", "locked", "ready"]


async def test_a_branch_in_ordinary_io_keeps_the_run_until_it_reaches_its_step() -> None:
    proceed = asyncio.Event()
    reached = asyncio.Event()

    async def body(ctx: Body) -> str:
        async def io() -> str:
            reached.set()
            waiter = asyncio.get_running_loop().create_future()
            outside.append(waiter)
            await waiter
            return await ctx.step.run("late", echo, "late")

        result, _ = await asyncio.gather(io(), ctx.step.sleep("nap", "1h"))
        return result

    outside: list[asyncio.Future[None]] = []
    server = FakeServer(workflow(body))
    server.start()
    await reached.wait()
    await asyncio.sleep(0.05)
    assert server.status == "running"
    outside[0].set_result(None)
    assert await server.rest() == "waiting"
    assert server.steps["late", 0].status == "completed"
    assert not proceed.is_set()


async def test_an_async_generator_may_take_steps() -> None:
    async def pages(ctx: Body) -> AsyncIterator[str]:
        for number in range(3):
            await ctx.step.sleep("pause", "1h")
            yield await ctx.step.run("page", echo, f"page {number}")

    async def body(ctx: Body) -> list[str]:
        return [page async for page in pages(ctx)]

    server = FakeServer(workflow(body))
    for number in range(3):
        assert await server.run() == "waiting"
        server.settle("pause", number)
    assert await server.run() == "completed"
    assert server.output == ["page 0", "page 1", "page 2"]
    await replayed(server)


async def test_a_settlement_that_crosses_the_parking_keeps_the_run() -> None:
    async def body(ctx: Body) -> str:
        await asyncio.gather(ctx.step.sleep("a", "1h"), ctx.step.sleep("b", "1h"))
        return "done"

    server = FakeServer(workflow(body))
    server.paused = True
    server.start()
    await server.until(lambda: bool(server.frames))
    session = server.session
    assert session is not None
    states = [session.state]
    parks, parked = server.frames[0][:-1], server.frames[0][-1]
    server._commit(parks, session)
    server.settle("a")
    server._commit([parked], session)
    assert server.status == "running"
    states.append(session.state)
    assert states == ["parking", "running"]
    server.paused = False
    assert await server.rest() == "waiting"
    server.settle("b")
    assert await server.run() == "completed"


async def test_waits_give_what_came() -> None:
    async def body(ctx: Body) -> list[Any]:
        opened = await ctx.step.wait_for_event("open", event="opened", match={"data.id": 7}, timeout="1h")
        assert isinstance(opened, Event)
        late = await ctx.step.wait_for_event("late", event="opened", match="data.id == 8", timeout=5, since="now")
        signal = await ctx.step.wait_for_signal("gate", signal="gate-1", timeout="1h", data_type=dict)
        with pytest.raises(SignalTimeoutError, match="gate-1"):
            await ctx.step.wait_for_signal("gate", signal="gate-1", timeout="1h")
        child = await ctx.step.invoke("child", workflow="other", data={"x": 1}, timeout="1h")
        assert isinstance(child, InvokeResult)
        return [opened.data, late, signal, child.result, child.run_id]

    server = FakeServer(workflow(body))
    event = {"id": "e-1", "name": "opened", "data": {"id": 7}, "ts": "2026-01-01T00:00:00Z"}
    await server.run()
    server.settle("open", output=event)
    await server.run()
    server.settle("late", status="timed_out")
    await server.run()
    server.settle("gate", output={"ok": True})
    await server.run()
    server.settle("gate", 1, status="timed_out")
    await server.run()
    server.settle("child", output=[1])
    assert await server.run() == "completed"
    assert server.output == [{"id": 7}, None, {"ok": True}, [1], "child-run"]
    parked = [message for message in server.sent if isinstance(message, StepParked)]
    assert [message.topic for message in parked] == ["event:opened"] * 2 + ["signal:gate-1"] * 2 + ["child"]
    assert parked[0].equals is not None
    assert parked[1].since_now
    assert await replayed(server)


@pytest.mark.parametrize(
    ("status", "name", "expected"),
    [
        ("timed_out", None, WorkflowTimeoutError),
        ("failed", "WorkflowCancelledError", WorkflowCancelledError),
        ("failed", "UnknownFunctionError", UnknownFunctionError),
        ("failed", "ValueError", WorkflowFailedError),
    ],
)
async def test_a_child_that_does_not_complete_raises(status: str, name: str | None, expected: type[Exception]) -> None:
    caught: list[Exception] = []

    async def body(ctx: Body) -> None:
        try:
            await ctx.step.invoke("child", workflow="other", timeout="1h")
        except Exception as error:
            caught.append(error)

    server = FakeServer(workflow(body))
    await server.run()
    server.settle("child", status=status, error=Error(name=name, message="bad", stack="tb") if name else None)
    assert await server.run() == "completed"
    assert type(caught[0]) is expected


async def test_a_signal_that_another_run_waits_for_raises_a_conflict() -> None:
    async def body(ctx: Body) -> str:
        try:
            await ctx.step.wait_for_signal("gate", signal="gate", timeout="1h")
        except SignalConflictError as error:
            return error.message
        return ""

    server = FakeServer(workflow(body))
    await server.run()
    server.settle("gate", status="failed", error=Error(name="SignalConflictError", message="taken"))
    await server.run()
    assert server.output == "taken"


async def test_a_step_id_that_another_operation_recorded_fails_the_run_by_name() -> None:
    sleeping = True

    async def body(ctx: Body) -> None:
        if sleeping:
            await ctx.step.sleep("first", "1h")
        else:
            await ctx.step.run("first", echo, "x")

    server = FakeServer(workflow(body))
    await server.run()
    await server.lose()
    server.settle("first")
    sleeping = False
    assert await server.run() == "failed"
    assert server.error is not None
    assert server.error.name == StepMismatchError.__name__
    assert "'first'" in server.error.message
    assert "sleep" in server.error.message


async def test_code_may_lose_and_reorder_steps_under_a_run_in_flight() -> None:
    old = True
    calls: list[str] = []

    async def note(name: str) -> str:
        calls.append(name)
        return name

    async def body(ctx: Body) -> list[str]:
        if old:
            await asyncio.gather(*[ctx.step.run(name, note, name) for name in "abc"])
            await ctx.step.sleep("nap", "1h")
            return []
        got = await asyncio.gather(*[ctx.step.run(name, note, name) for name in ("c", "new")])
        await ctx.step.sleep("nap", "1h")
        return [*got, await ctx.step.run("a", note, "a")]

    server = FakeServer(workflow(body))
    assert await server.run() == "waiting"
    await server.lose()
    server.settle("nap")
    old = False
    assert await server.run() == "completed"
    assert server.output == ["c", "new", "a"]
    assert sorted(calls) == ["a", "b", "c", "new"]


async def test_a_step_that_was_given_up_and_is_waited_for_now_raises() -> None:
    give_up = True

    async def body(ctx: Body) -> None:
        nap = asyncio.create_task(ctx.step.sleep("nap", "1h"))
        if give_up:
            await asyncio.sleep(0)
            nap.cancel()
            await ctx.step.sleep("other", "1h")
        await nap

    server = FakeServer(workflow(body))
    assert await server.run() == "waiting"
    await server.lose()
    server.settle("other")
    give_up = False
    assert await server.run() == "failed"
    assert server.error is not None
    assert server.error.name == StepError.__name__
    assert "given up" in server.error.message


async def test_what_follows_a_step_that_was_given_up_is_handed_out_after_it_on_every_replay() -> None:
    give_up = True

    async def two_steps(ctx: Body) -> str:
        await ctx.step.run("first", echo, "first")
        return await ctx.step.run("same", echo, "of two steps")

    async def body(ctx: Body) -> list[str]:
        nap = asyncio.create_task(ctx.step.sleep("nap", "1h"))
        if give_up:
            await asyncio.sleep(0)
            nap.cancel()
            await ctx.step.sleep("old", "1h")
        with suppress(StepError):
            await nap
        got = await asyncio.gather(two_steps(ctx), ctx.step.run("same", echo, "of one step"))
        await ctx.step.sleep("last", "1h")
        return got

    server = FakeServer(workflow(body))
    assert await server.run() == "waiting"
    await server.lose()
    server.settle("old")
    give_up = False
    assert await server.run() == "waiting"
    await server.lose()
    server.settle("last")
    assert await server.run() == "completed"
    assert server.output == ["of two steps", "of one step"]
