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
from rotor.sdk.context import Context
from tests.sdk.fake_server import FakeServer, raw
from tests.sdk.test_session import workflow


async def number(value: int) -> int:
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


@settings(max_examples=40, deadline=None)
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
