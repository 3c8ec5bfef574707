"""Steps side by side, in each of asyncio's ways."""

from __future__ import annotations

import asyncio
from typing import Any

from rotor import Context
from rotor.errors import RetryAfterError, StepError
from tests.conformance.ledger import note
from tests.conformance.workflows import KeyData, workflow


async def unhurried(key: str, word: str, seconds: float = 0.0) -> str:
    await asyncio.sleep(seconds)
    return note(key, word)


async def branch(ctx: Context[KeyData], name: str, sleep: str | None = None) -> str:
    """Three steps with other awaits between them, and perhaps a durable sleep."""
    key = ctx.event.data["key"]
    one = await ctx.step.run(f"{name}-one", unhurried, key, f"{name} one")
    await asyncio.sleep(0.01)
    if sleep:
        await ctx.step.sleep(f"{name}-sleep", sleep)
    two = await ctx.step.run("shared", unhurried, key, f"{name} two")
    await asyncio.sleep(0)
    three = await ctx.step.run(f"{name}-three", note, key, f"{name} three")
    return f"{one}, {two}, {three}"


async def again(ctx: Context[KeyData], outcome: Any) -> Any:
    """Fail once, so that everything before is replayed; then both times must have come to the same."""
    first = await ctx.step.run("outcome", lambda: outcome)
    if ctx.attempt == 0:
        raise RetryAfterError("replay", 0.05)
    return {"first": first, "replayed": outcome}


@workflow("branches.gather", retries=1)
async def gather(ctx: Context[KeyData]) -> Any:
    key = ctx.event.data["key"]
    steps = [ctx.step.run(f"step {number}", unhurried, key, f"{number}", 0.05 - number / 100) for number in range(5)]
    whole = await asyncio.gather(branch(ctx, "a"), branch(ctx, "b", "150ms"), branch(ctx, "c"), *steps)
    return await again(ctx, list(whole))


@workflow("branches.group", retries=1)
async def group(ctx: Context[KeyData]) -> Any:
    async with asyncio.TaskGroup() as tasks:
        started = [
            tasks.create_task(branch(ctx, "a", "100ms")),
            tasks.create_task(branch(ctx, "b")),
            tasks.create_task(ctx.step.run("plain", unhurried, ctx.event.data["key"], "plain")),
        ]
    return await again(ctx, [task.result() for task in started])


@workflow("branches.wait", retries=1)
async def wait(ctx: Context[KeyData]) -> Any:
    """The first of three wins; the others are waited for after it."""
    tasks = [
        asyncio.create_task(branch(ctx, "slow", "300ms"), name="slow"),
        asyncio.create_task(branch(ctx, "quick"), name="quick"),
        asyncio.create_task(ctx.step.sleep("longest", "400ms"), name="longest"),
    ]
    order: list[list[str]] = []
    pending = set(tasks)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        order.append(sorted(task.get_name() for task in done))
        await ctx.step.run("seen", note, ctx.event.data["key"], f"seen {len(order)}")
    return await again(ctx, order)


@workflow("branches.as-completed", retries=1)
async def as_completed(ctx: Context[KeyData]) -> Any:
    key = ctx.event.data["key"]
    works = [branch(ctx, "a", "150ms"), branch(ctx, "b"), ctx.step.run("plain", unhurried, key, "plain", 0.08)]
    order = []
    for finished in asyncio.as_completed(works):
        order.append(await finished)
        await ctx.step.run("seen", note, key, f"seen {len(order)}")
    return await again(ctx, order)


@workflow("branches.race", retries=1)
async def race(ctx: Context[KeyData]) -> Any:
    """An event against a sleep, the loser cancelled: the usual way to write a deadline over several steps."""
    key = ctx.event.data["key"]
    event = asyncio.create_task(
        ctx.step.wait_for_event("event", event="ping", match={"data.key": key}, timeout="1h"), name="event"
    )
    sleep = asyncio.create_task(ctx.step.sleep("sleep", ctx.event.data["sleep"]), name="sleep")
    done, pending = await asyncio.wait({event, sleep}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    await ctx.step.run("after", note, key, "after")
    return await again(ctx, sorted(task.get_name() for task in done))


@workflow("branches.failing")
async def failing(ctx: Context[KeyData]) -> Any:
    """One branch fails; what the others did is kept."""
    key = ctx.event.data["key"]

    def fail() -> None:
        raise LookupError("this branch")

    outcomes = await asyncio.gather(
        ctx.step.run("well", unhurried, key, "well"), ctx.step.run("ill", fail), return_exceptions=True
    )
    assert isinstance(outcomes[1], StepError)
    return [outcomes[0], outcomes[1].name]


@workflow("branches.sequence")
async def sequence(ctx: Context[KeyData]) -> int:
    total = 0
    for number in range(ctx.event.data["count"]):
        total += await ctx.step.run("add", add, ctx.event.data["key"], number)
    return total


@workflow("branches.crowd")
async def crowd(ctx: Context[KeyData]) -> int:
    key = ctx.event.data["key"]
    return sum(await asyncio.gather(*(ctx.step.run("add", add, key, one) for one in range(ctx.event.data["count"]))))


async def add(key: str, number: int) -> int:
    note(key, str(number))
    return number
