"""Replays are fast, silent and stable, however many steps are recorded."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotor.protocol.messages import Memo, RunCompleted
from rotor.sdk import watch
from rotor.sdk.context import Context
from tests.sdk.fake_server import FakeServer, raw
from tests.sdk.test_session import workflow


async def number(value: int) -> int:
    return value


async def name(value: str) -> str:
    return value


def recorded(count: int, *, grouped: bool) -> dict[tuple[str, int], Memo]:
    return {
        ("step", index): Memo(
            id="step",
            index=index,
            op="run",
            status="completed",
            attempts=1,
            output=raw(index),
            group=1 if grouped else index + 1,
        )
        for index in range(count)
    }


class Calls:
    """Counts the Python functions entered within: a cost that is the same on every machine."""

    count = 0

    def __enter__(self) -> Calls:
        sys.setprofile(self._seen)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.setprofile(None)

    def _seen(self, frame: object, event: str, argument: object) -> None:
        self.count += event == "call"


async def test_ten_thousand_steps_in_a_row_replay_at_a_constant_cost_each() -> None:
    async def body(ctx: Context[Any]) -> int:
        return sum([await ctx.step.run("step", number, index) for index in range(10_000)])

    server = FakeServer(workflow(body), steps=recorded(10_000, grouped=False))
    with Calls() as calls:
        assert await server.run() == "completed"
    assert calls.count < 100 * 10_000
    assert server.output == sum(range(10_000))
    assert len(server.sent) == 1


@pytest.mark.parametrize("grouped", [True, False])
async def test_parallel_steps_replay_at_a_cost_that_grows_with_their_number(grouped: bool) -> None:
    async def cost(count: int) -> int:
        async def body(ctx: Context[Any]) -> int:
            return sum(await asyncio.gather(*[ctx.step.run("step", number, index) for index in range(count)]))

        server = FakeServer(workflow(body), steps=recorded(count, grouped=grouped))
        with Calls() as calls:
            assert await server.run() == "completed"
        assert server.output == sum(range(count))
        return calls.count

    # Eight times as many: a quadratic cost would be 64 times as much.
    assert await cost(2_000) < 12 * await cost(250)


async def test_the_logger_is_silent_while_replaying(caplog: pytest.LogCaptureFixture) -> None:
    async def body(ctx: Context[Any]) -> None:
        ctx.logger.info("start")
        await ctx.step.run("a", number, 1)
        ctx.logger.info("between")
        await ctx.step.sleep("nap", "1h")
        ctx.logger.info("end", extra={"mine": 1})

    caplog.set_level(logging.INFO, logger="rotor.run")
    server = FakeServer(workflow(body))
    await server.run()
    server.settle("nap")
    await server.lose()
    await server.run()
    assert [record.getMessage() for record in caplog.records] == ["start", "between", "end"]
    assert caplog.records[-1].run_id == server.session.run_id  # type: ignore[union-attr, attr-defined]
    assert caplog.records[-1].mine == 1  # type: ignore[attr-defined]


async def in_a_group(ctx: Context[Any], branches: list[Coroutine[Any, Any, int]], seen: list[str]) -> None:
    async with asyncio.TaskGroup() as group:
        for branch in branches:
            group.create_task(branch)


async def as_completed(ctx: Context[Any], branches: list[Coroutine[Any, Any, int]], seen: list[str]) -> None:
    for next_done in asyncio.as_completed(branches):
        ended = await ctx.step.run("step", number, await next_done)
        seen.append(f"ended {ended}")


async def as_they_are_done(ctx: Context[Any], branches: list[Coroutine[Any, Any, int]], seen: list[str]) -> None:
    pending = {asyncio.create_task(branch) for branch in branches}
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            ended = await ctx.step.run("step", number, task.result())
            seen.append(f"ended {ended}")


async def only_the_first(ctx: Context[Any], branches: list[Coroutine[Any, Any, int]], seen: list[str]) -> None:
    tasks = [asyncio.create_task(branch) for branch in branches]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        won = await ctx.step.run("step", number, task.result())
        seen.append(f"won {won}")


@settings(max_examples=40)
@given(
    shape=st.lists(st.integers(min_value=0, max_value=3), min_size=2, max_size=5),
    wait_for_them=st.sampled_from([in_a_group, as_completed, as_they_are_done, only_the_first]),
    chance=st.randoms(use_true_random=False),
    is_lost=st.booleans(),
)
def test_whatever_order_things_came_in_a_replay_sees_the_same(
    shape: list[int], wait_for_them: Any, chance: Any, is_lost: bool
) -> None:
    """Branches of steps and sleeps, all under the same ids, note in which order they went on."""

    async def body(ctx: Context[Any]) -> list[str]:
        seen: list[str] = []

        async def branch(name: int, steps: int) -> int:
            for step in range(steps):
                if (name + step) % 2:
                    await ctx.step.sleep("nap", "1h")
                else:
                    assert await ctx.step.run("step", number, 10 * name + step) == 10 * name + step
                seen.append(f"{name}.{step}")
            return name

        await wait_for_them(ctx, [branch(name, steps) for name, steps in enumerate(shape)], seen)
        return seen

    async def check() -> None:
        server = FakeServer(workflow(body))
        while await server.run() != "completed":
            due = sorted(server.waits)
            chance.shuffle(due)
            for key in due[: chance.randint(1, len(due))]:
                server.settle(*key)
            if is_lost:
                await server.lose()
        live = server.output
        server.status, server.session, server.frames = "queued", None, []
        assert await server.run() == "completed"
        assert server.output == live
        assert [type(message) for message in server.sent] == [RunCompleted]
        server.threads.shutdown()

    asyncio.run(check())


async def test_a_replay_from_any_prefix_of_the_record_continues_to_the_same_result() -> None:
    async def body(ctx: Context[Any]) -> list[int]:
        async def branch(name: int) -> int:
            first = await ctx.step.run(f"first-{name}", number, name)
            await asyncio.sleep(0)
            return first + await ctx.step.run(f"second-{name}", number, name)

        return await asyncio.gather(*[branch(name) for name in range(5)])

    server = FakeServer(workflow(body))
    await server.run()
    everything = sorted(server.steps.values(), key=lambda memo: memo.group)
    for cut in range(len(everything) + 1):
        steps = {(memo.id, memo.index): msgspec.structs.replace(memo) for memo in everything[:cut]}
        again = FakeServer(workflow(body), steps=steps, group=1_000)
        assert await again.run() == "completed"
        assert again.output == server.output
        again.threads.shutdown()


async def test_the_loser_of_a_race_leaves_before_others_go_on_however_long_its_step_cleans_up() -> None:
    clean = asyncio.Event()

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await clean.wait()

    async def racer(ctx: Context[Any]) -> str:
        loser = asyncio.create_task(ctx.step.run("slow", slow))
        await ctx.step.sleep("race", "1h")
        loser.cancel()
        await asyncio.wait([loser])
        return await ctx.step.run("same", name, "racer")

    async def other(ctx: Context[Any]) -> str:
        await ctx.step.sleep("other", "2h")
        return await ctx.step.run("same", name, "other")

    async def body(ctx: Context[Any]) -> list[str]:
        got = await asyncio.gather(racer(ctx), other(ctx))
        await ctx.step.sleep("last", "1h")
        return got

    server = FakeServer(workflow(body))
    server.start()
    await server.until(lambda: len(server.waits) == 2)
    server.settle("race")
    server.settle("other")
    for _ in range(100):
        await asyncio.sleep(0)
    clean.set()
    assert await server.rest() == "waiting"
    await server.lose()
    server.settle("last")
    assert await server.run() == "completed"
    assert server.output == ["racer", "other"]


@pytest.mark.parametrize("raises", [False, True])
async def test_a_step_that_swallows_its_cancellation_is_cancelled_live_as_on_replay(raises: bool) -> None:
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if raises:
                raise ValueError("instead") from None
        return "kept"

    async def body(ctx: Context[Any]) -> list[str]:
        loser = asyncio.create_task(ctx.step.run("stubborn", stubborn))
        await ctx.step.sleep("race", "1h")
        loser.cancel()
        (outcome,) = await asyncio.gather(loser, return_exceptions=True)
        seen = type(outcome).__name__
        first = await ctx.step.run("first seen", name, seen)
        await ctx.step.sleep("last", "1h")
        return [first, seen]

    server = FakeServer(workflow(body))
    server.start()
    await server.until(lambda: len(server.waits) == 1)
    server.settle("race")
    assert await server.rest() == "waiting"
    await server.lose()
    server.settle("last")
    assert await server.run() == "completed"
    assert server.output == ["CancelledError", "CancelledError"]
    assert server.steps["stubborn", 0].status == "cancelled"


async def test_results_keep_their_order_though_a_replay_takes_long_to_ask_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready = asyncio.Event()

    async def branch(ctx: Context[Any], nap: str) -> str:
        await ctx.step.sleep(nap, "1h")
        return await ctx.step.run("same", name, nap)

    async def body(ctx: Context[Any]) -> list[str]:
        beside = asyncio.create_task(ctx.step.sleep("beside", "1d"))
        await asyncio.wait_for(ready.wait(), 60)
        got = await asyncio.gather(branch(ctx, "a"), branch(ctx, "b"))
        await ctx.step.sleep("last", "1h")
        beside.cancel()
        return got

    server = FakeServer(workflow(body))
    ready.set()
    assert await server.run() == "waiting"
    for nap in ("b", "a"):
        server.settle(nap)
        assert await server.run() == "waiting"
    await server.lose()
    server.settle("last")
    ready.clear()
    monkeypatch.setattr(watch, "STRAY_SECONDS", 0.0)
    session = server.start()
    await server.until(lambda: not session._calls.order.groups)
    ready.set()
    assert await server.rest() == "completed"
    assert server.output == ["a", "b"]


def test_time_in_which_the_event_loop_stands_still_tries_nobody_s_patience() -> None:
    patience = watch.Patience()
    assert [patience.is_over(5.0, now, pace=0.5) for now in (10.0, 10.5, 100.0, 200.0)] == [False] * 4
    patience.renew()
    assert [patience.is_over(1.0, now, pace=0.5) for now in (300.0, 300.5, 301.0)] == [False, False, True]
