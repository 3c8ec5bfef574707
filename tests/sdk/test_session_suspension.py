"""Leaving a body without effect, cancelling its run, and giving it back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rotor.protocol.messages import (
    CancelRun,
    DropRun,
    Error,
    Refused,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunParked,
    RunReleased,
    StepDone,
    StepParked,
)
from rotor.sdk.context import Context
from rotor.sdk.session import Session
from tests.sdk.fake_server import RUN, FakeServer
from tests.sdk.test_session import workflow

Body = Context[Any]


async def echo(value: str) -> str:
    return value


async def suspended(body: Any) -> FakeServer:
    """A run that was parked, whose body was then dropped."""
    server = FakeServer(workflow(body))
    assert await server.run() == "waiting"
    sent = len(server.sent)
    session = server.session
    await server.lose()
    await asyncio.sleep(0.01)
    assert session is not None
    assert session.state == "ended"
    assert len(server.sent) == sent
    return server


async def test_except_exception_does_not_see_a_suspension() -> None:
    seen: list[BaseException] = []

    async def body(ctx: Body) -> str:
        try:
            await ctx.step.sleep("nap", "1h")
        except Exception as error:
            seen.append(error)
        return "done"

    server = await suspended(body)
    assert not seen
    server.settle("nap")
    assert await server.run() == "completed"


async def test_finally_and_async_with_record_nothing_while_suspended() -> None:
    ran: list[str] = []

    async def note(name: str) -> None:
        ran.append(name)

    async def body(ctx: Body) -> str:
        @asynccontextmanager
        async def lease() -> AsyncIterator[None]:
            try:
                yield
            finally:
                await ctx.step.run("give-back", note, "give-back")

        try:
            async with lease():
                await ctx.step.sleep("nap", "1h")
        finally:
            await ctx.step.run("clean-up", note, "clean-up")
        return "done"

    server = await suspended(body)
    assert ran == []
    server.settle("nap")
    assert await server.run() == "completed"
    assert ran == ["give-back", "clean-up"]


async def test_a_return_in_finally_does_not_complete_a_suspended_run() -> None:
    async def body(ctx: Body) -> str:
        try:
            await ctx.step.sleep("nap", "1h")
        finally:
            return "too early"  # noqa: B012

    server = await suspended(body)
    assert server.status == "waiting"


async def test_a_loop_that_swallows_everything_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rotor.sdk.unwinding.ROUND_SECONDS", 0.02)

    async def body(ctx: Body) -> None:
        while True:
            try:
                await ctx.step.sleep("nap", "1h")
            except (Exception, asyncio.CancelledError):
                continue

    server = FakeServer(workflow(body))
    assert await server.run() == "waiting"
    await server.lose()
    assert len(server.sent) == 2


async def test_tasks_that_a_body_starts_while_unwinding_are_cancelled_too() -> None:
    started: list[asyncio.Task[None]] = []

    async def body(ctx: Body) -> None:
        try:
            await ctx.step.sleep("nap", "1h")
        finally:
            started.append(asyncio.create_task(asyncio.sleep(3_600)))

    await suspended(body)
    assert started[0].cancelled()


async def test_a_step_body_in_flight_is_cancelled_by_a_close() -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        entered.set()
        try:
            await asyncio.sleep(3_600)
        finally:
            left.set()

    async def body(ctx: Body) -> None:
        await ctx.step.run("slow", slow)

    server = FakeServer(workflow(body))
    server.start()
    await entered.wait()
    await server.lose()
    assert left.is_set()
    assert server.sent == []


async def test_a_dropped_run_sends_nothing_more() -> None:
    entered = asyncio.Event()

    async def slow() -> None:
        entered.set()
        await asyncio.sleep(3_600)

    async def body(ctx: Body) -> None:
        await ctx.step.run("slow", slow)

    server = FakeServer(workflow(body))
    session = server.start()
    await entered.wait()
    session.receive(DropRun(run_id=RUN))
    await session.ended.wait()
    assert server.sent == []
    assert session.unacknowledged == []


async def test_leftover_tasks_are_cancelled_before_the_run_completes() -> None:
    async def body(ctx: Body) -> str:
        async def forgotten() -> None:
            try:
                await ctx.step.sleep("nap", "1h")
            finally:
                await ctx.step.run("never", echo, "never")

        task = asyncio.create_task(forgotten())
        await ctx.step.run("a", echo, "a")
        assert not task.done()
        return "done"

    server = FakeServer(workflow(body))
    assert await server.run() == "completed"
    assert ("never", 0) not in server.steps
    assert isinstance(server.sent[-1], RunCompleted)


async def test_a_cancelled_run_finishes_the_step_in_flight_and_starts_no_other() -> None:
    entered, proceed = asyncio.Event(), asyncio.Event()
    ran: list[str] = []

    async def slow() -> str:
        entered.set()
        await proceed.wait()
        return "slow"

    async def note(name: str) -> None:
        ran.append(name)

    async def body(ctx: Body) -> None:
        try:
            await ctx.step.run("slow", slow)
            ran.append("workflow went on")
            await ctx.step.run("next", note, "next")
        finally:
            await ctx.step.run("clean-up", note, "clean-up")

    server = FakeServer(workflow(body))
    server.start()
    await entered.wait()
    server.cancel()
    server.cancel()
    await asyncio.sleep(0.01)
    assert server.status == "running"
    proceed.set()
    assert await server.rest() == "cancelled"
    assert server.steps["slow", 0].status == "completed"
    assert ran == []
    assert [type(message) for message in server.sent] == [StepDone, RunCancelled]


async def test_a_run_that_is_being_cancelled_is_given_back_by_a_worker_that_stops_and_nothing_of_it_is_left() -> None:
    async def body(ctx: Body) -> None:
        await ctx.step.run("last", echo, "x")

    server = FakeServer(workflow(body))
    server.paused = True
    session = server.start()
    await server.until(lambda: bool(server.sent))
    before = asyncio.all_tasks()
    server.cancel()
    await server.until(lambda: asyncio.all_tasks() > before)
    await session.release()
    await server.until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
    await server.until(lambda: len(server.sent) > 1)
    assert [type(message) for message in server.sent] == [StepDone, RunReleased]


async def test_a_parking_run_can_be_cancelled() -> None:
    async def body(ctx: Body) -> None:
        await ctx.step.sleep("nap", "1h")

    server = FakeServer(workflow(body))
    server.paused = True
    session = server.start()
    await server.until(lambda: session.state == "parking")
    session.receive(CancelRun(run_id=RUN))
    await server.until(lambda: [type(message) for message in server.sent[-1:]] == [RunCancelled])


async def test_a_released_run_gives_back_what_was_not_acknowledged() -> None:
    entered, proceed = asyncio.Event(), asyncio.Event()

    async def slow() -> str:
        entered.set()
        await proceed.wait()
        return "slow"

    async def body(ctx: Body) -> None:
        await asyncio.gather(ctx.step.run("slow", slow), ctx.step.sleep("nap", "1h"))
        await ctx.step.run("next", echo, "x")

    server = FakeServer(workflow(body))
    server.paused = True
    session = server.start()
    await entered.wait()
    releasing = asyncio.create_task(session.release(grace_seconds=10))
    await asyncio.sleep(0.01)
    proceed.set()
    await releasing
    assert [type(message) for message in session.unacknowledged] == [StepParked, StepDone, RunReleased]
    server.resume_commits(len(server.frames))
    await server.until(lambda: server.status == "queued")
    await session.ended.wait()
    await server.lose()
    assert server.steps["slow", 0].status == "completed"


async def test_a_release_without_grace_leaves_the_body_in_flight_unrecorded() -> None:
    entered = asyncio.Event()

    async def slow() -> None:
        entered.set()
        await asyncio.sleep(3_600)

    async def body(ctx: Body) -> None:
        await ctx.step.run("slow", slow)

    server = FakeServer(workflow(body))
    session = server.start()
    await entered.wait()
    await session.release()
    assert [type(message) for message in session.unacknowledged] == [RunReleased]


async def test_a_branch_that_wakes_while_parked_is_held_until_the_run_is_resumed() -> None:
    outside: list[asyncio.Event] = []

    async def body(ctx: Body) -> str:
        event = asyncio.Event()
        outside.append(event)

        async def branch() -> str:
            await event.wait()
            return await ctx.step.run("woken", echo, "woken")

        woken, _ = await asyncio.gather(branch(), ctx.step.sleep("nap", "1h"))
        return woken

    server = FakeServer(workflow(body))
    assert await server.run() == "waiting"
    sent = len(server.sent)
    outside[0].set()
    await asyncio.sleep(0.02)
    assert len(server.sent) == sent
    server.settle("nap")
    assert await server.run() == "completed"
    assert server.output == "woken"


async def test_a_body_that_returns_while_parked_completes_when_resumed() -> None:
    outside: list[asyncio.Event] = []

    async def body(ctx: Body) -> str:
        event = asyncio.Event()
        outside.append(event)
        nap = asyncio.create_task(ctx.step.sleep("nap", "1h"))
        waiter = asyncio.create_task(event.wait())
        await asyncio.wait([nap, waiter], return_when=asyncio.FIRST_COMPLETED)
        return "early"

    server = FakeServer(workflow(body))
    assert await server.run() == "waiting"
    outside[0].set()
    await asyncio.sleep(0.02)
    assert not [message for message in server.sent if isinstance(message, RunCompleted)]
    server.settle("nap")
    assert await server.run() == "completed"
    assert server.output == "early"


async def test_a_refused_result_fails_the_run() -> None:
    async def body(ctx: Body) -> str:
        return "x"

    server = FakeServer(workflow(body))
    server.paused = True
    session = server.start()
    await server.until(lambda: bool(server.sent))
    session.receive(Refused(run_id=RUN, n=1, error=Error(name="LimitError", message="too much (PAYLOAD_BYTES)")))
    await server.until(lambda: len(server.sent) == 2)
    failed = server.sent[-1]
    assert isinstance(failed, RunFailed)
    assert not failed.retriable


async def test_a_run_that_may_not_be_kept_ends_when_it_is_parked() -> None:
    async def body(ctx: Body) -> None:
        await ctx.step.sleep("nap", "1h")

    server = FakeServer(workflow(body), keep=False)
    session = server.start()
    await session.ended.wait()
    parked = server.sent[-1]
    assert isinstance(parked, RunParked)
    assert not parked.kept


async def test_state_changes_are_told_outside_of_the_workflow() -> None:
    states: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    def note(session: Session) -> None:
        states.append(session.state)
        tasks.append(asyncio.create_task(asyncio.sleep(0)))

    async def body(ctx: Body) -> None:
        await ctx.step.sleep("nap", "1h")

    server = FakeServer(workflow(body))
    session = server.start()
    session.on_state_change = note
    await server.until(lambda: session.state == "parked")
    server.settle("nap")
    server.start()
    await session.ended.wait()
    assert states == ["parking", "parked", "running", "ended"]
    assert not session._branches.live


async def test_threads_of_step_bodies_do_not_hold_up_a_close() -> None:
    entered, proceed = threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        proceed.wait(60)

    async def body(ctx: Body) -> None:
        await ctx.step.run("slow", slow)

    server = FakeServer(workflow(body))
    server.start()
    await asyncio.to_thread(entered.wait)
    await server.lose()
    proceed.set()
    assert server.sent == []
