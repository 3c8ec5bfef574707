"""Handlers that are a plain `def`: their steps block, and `parallel` takes several side by side."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any

from rotor.errors import StepError
from rotor.protocol.messages import RunParked, StepDone
from rotor.sdk.context import SyncContext
from tests.sdk.fake_server import FakeServer
from tests.sdk.test_session import workflow

Body = SyncContext[Any]


def echo(value: str) -> str:
    return value


async def test_a_plain_handler_runs_off_the_event_loop() -> None:
    loop_thread = threading.get_ident()

    def body(ctx: Body) -> list[Any]:
        return [threading.get_ident() != loop_thread, ctx.step.run("a", echo, "x"), ctx.event.name]

    server = FakeServer(workflow(body))
    assert await server.run() == "completed"
    assert server.output == [True, "x", "started"]


async def test_a_plain_handler_parks_is_not_kept_and_replays() -> None:
    entered: list[int] = []
    caught: list[BaseException] = []
    ran: list[str] = []

    def note(name: str) -> str:
        ran.append(name)
        return name

    def body(ctx: Body) -> str:
        entered.append(1)
        first = ctx.step.run("a", note, "a")
        try:
            ctx.step.sleep("nap", "1h")
        except Exception as error:
            caught.append(error)
        finally:
            ctx.step.run("clean-up", note, "clean-up")
        return first

    server = FakeServer(workflow(body))
    session = server.start()
    await session.ended.wait()
    assert server.status == "waiting"
    parked = server.sent[-1]
    assert isinstance(parked, RunParked)
    assert not parked.kept
    server.settle("nap")
    assert await server.run() == "completed"
    assert server.output == "a"
    assert (ran, len(entered), caught) == (["a", "clean-up"], 2, [])


async def test_parallel_branches_keep_their_results_and_ids_in_order() -> None:
    def body(ctx: Body) -> list[str]:
        def branch(name: str) -> str:
            first = ctx.step.run("same-id", echo, name)
            ctx.step.sleep("nap", "1h")
            return first + ctx.step.run("then", echo, name)

        return ctx.step.parallel([partial(branch, name) for name in "abcde"])

    server = FakeServer(workflow(body))
    assert await server.run() == "waiting"
    assert [bytes(server.steps["same-id", index].output) for index in range(5)] == [
        f'"{name}"'.encode() for name in "abcde"
    ]
    assert len(server.waits) == 5
    for index in (3, 0):
        server.settle("nap", index)
    assert await server.run() == "waiting"
    for index in (4, 1, 2):
        server.settle("nap", index)
    assert await server.run() == "completed"
    assert server.output == ["aa", "bb", "cc", "dd", "ee"]
    server.status, server.session, server.frames = "queued", None, []
    assert await server.run() == "completed"
    assert server.output == ["aa", "bb", "cc", "dd", "ee"]
    assert not [message for message in server.sent if isinstance(message, StepDone)]


async def test_parallel_bodies_run_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=60)

    def meet() -> int:
        return together.wait() * 0

    def body(ctx: Body) -> list[int]:
        return ctx.step.parallel([lambda: ctx.step.run("meet", meet)] * 3)

    server = FakeServer(workflow(body))
    assert await server.run() == "completed"


async def test_parallel_in_parallel() -> None:
    def body(ctx: Body) -> list[list[str]]:
        def inner(name: str) -> list[str]:
            return ctx.step.parallel([partial(ctx.step.run, "x", echo, f"{name}{n}") for n in range(2)])

        return ctx.step.parallel([partial(inner, name) for name in "ab"])

    server = FakeServer(workflow(body))
    assert await server.run() == "completed"
    assert server.output == [["a0", "a1"], ["b0", "b1"]]


async def test_the_first_failure_in_order_raises_once_all_branches_have_ended() -> None:
    def fail(name: str) -> None:
        raise ValueError(name)

    def body(ctx: Body) -> str:
        try:
            ctx.step.parallel(
                [
                    lambda: ctx.step.run("a", echo, "fine"),
                    lambda: ctx.step.run("b", fail, "first", retries=0),
                    lambda: ctx.step.run("c", fail, "second", retries=0),
                ]
            )
        except StepError as error:
            return error.message
        return ""

    server = FakeServer(workflow(body))
    assert await server.run() == "completed"
    assert server.output == "first"


async def test_a_handler_in_ordinary_blocking_work_is_not_parked() -> None:
    proceed = threading.Event()

    def body(ctx: Body) -> list[Any]:
        def busy() -> str:
            proceed.wait(60)
            return ctx.step.run("late", echo, "late")

        return ctx.step.parallel([busy, lambda: ctx.step.sleep("nap", "1h")])

    server = FakeServer(workflow(body))
    server.start()
    await server.until(lambda: ("nap", 0) in server.steps)
    await asyncio.sleep(0.05)
    assert server.status == "running"
    proceed.set()
    assert await server.rest() == "waiting"
    assert server.steps["late", 0].status == "completed"


async def test_a_cancelled_plain_handler_records_the_step_in_flight_and_nothing_later() -> None:
    entered, proceed = threading.Event(), threading.Event()

    def slow() -> str:
        entered.set()
        proceed.wait(60)
        return "slow"

    def body(ctx: Body) -> None:
        ctx.step.run("slow", slow)
        ctx.step.run("next", echo, "next")

    server = FakeServer(workflow(body))
    server.start()
    await asyncio.to_thread(entered.wait, 60)
    server.cancel()
    proceed.set()
    assert await server.rest() == "cancelled"
    assert set(server.steps) == {("slow", 0)}


async def test_what_a_plain_handler_raises_fails_the_run() -> None:
    def body(ctx: Body) -> None:
        raise ValueError("bad")

    server = FakeServer(workflow(body))
    assert await server.run() == "failed"
    assert server.error is not None
    assert (server.error.name, server.error.message) == ("ValueError", "bad")
