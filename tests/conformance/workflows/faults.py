"""Steps and bodies that fail, and what a workflow sees of it."""

from __future__ import annotations

import asyncio
from typing import Any

from rotor import Context, current_step
from rotor.errors import NonRetriableError, RetryAfterError, StepError
from tests.conformance.ledger import note
from tests.conformance.workflows import KeyData, workflow

AGAIN_SECONDS = 0.05


def fail_until(key: str, attempt: int) -> str:
    """Fails, with a short wait of its own, until it is tried for the `attempt`th time from 0."""
    note(key, "try")
    if current_step().attempt < attempt:
        raise RetryAfterError("not yet", AGAIN_SECONDS)
    return f"attempt {current_step().attempt}"


def stumble(key: str, seconds: float | None) -> str:
    note(key, "try")
    if current_step().attempt == 0:
        raise OSError("once") if seconds is None else RetryAfterError("once", seconds)
    return "up again"


def give_up(key: str) -> None:
    note(key, "try")
    raise NonRetriableError("no use")


def break_down(key: str) -> None:
    note(key, "try")
    raise LookupError("the shelf is empty")


@workflow("faults.backoff")
async def backoff(ctx: Context[KeyData]) -> str:
    data = ctx.event.data
    return await ctx.step.run("stumble", stumble, data["key"], data.get("seconds"), retries=1)


@workflow("faults.retry-after", retries=2)
async def retry_after(ctx: Context[KeyData]) -> str:
    return await ctx.step.run("third time", fail_until, ctx.event.data["key"], 2)


@workflow("faults.caught")
async def caught(ctx: Context[KeyData]) -> dict[str, Any]:
    try:
        await ctx.step.run("never", fail_until, ctx.event.data["key"], 99, retries=2)
    except StepError as error:
        text = await ctx.step.run("comfort", note, ctx.event.data["key"], "comfort")
        return {"name": error.name, "message": error.message, "stack": error.stack, "then": text}
    return {}


@workflow("faults.uncaught", retries=3)
async def uncaught(ctx: Context[KeyData]) -> None:
    note(ctx.event.data["key"], "body")
    await ctx.step.run("breaks", break_down, ctx.event.data["key"], retries=0)


@workflow("faults.hopeless", retries=3)
async def hopeless(ctx: Context[KeyData]) -> str:
    try:
        await ctx.step.run("gives up", give_up, ctx.event.data["key"])
    except StepError as error:
        return error.name
    return "nothing was raised"


@workflow("faults.step-timeout")
async def step_timeout(ctx: Context[KeyData]) -> str:
    try:
        await ctx.step.run("too long", asyncio.sleep, 30.0, timeout="50ms")
    except StepError as error:
        return f"{error.name}: {error.message}"
    return "nothing was raised"


@workflow("faults.body", retries=5)
async def body(ctx: Context[KeyData]) -> list[Any]:
    """The body fails twice, outside of any step."""
    note(ctx.event.data["key"], f"body {ctx.attempt}")
    once = await ctx.step.run("once", note, ctx.event.data["key"], "step")
    if ctx.attempt < 2:
        raise RetryAfterError("the body again", AGAIN_SECONDS)
    return [once, ctx.attempt]


@workflow("faults.body-hopeless", retries=5)
async def body_hopeless(ctx: Context[KeyData]) -> None:
    note(ctx.event.data["key"], "body")
    raise NonRetriableError("this body is lost")


@workflow("faults.body-used-up", retries=2)
async def body_used_up(ctx: Context[KeyData]) -> None:
    note(ctx.event.data["key"], "body")
    raise RetryAfterError("never again", AGAIN_SECONDS)


@workflow("faults.mismatch", retries=5)
async def mismatch(ctx: Context[KeyData]) -> None:
    """As after a change of the code: the second time the id stands for something else."""
    if ctx.attempt == 0:
        await ctx.step.run("one", note, ctx.event.data["key"], "step")
        raise RetryAfterError("and now for something else", AGAIN_SECONDS)
    await ctx.step.sleep("one", "1s")


@workflow("faults.reordered", retries=5)
async def reordered(ctx: Context[KeyData]) -> list[str]:
    """As after a change of the code: the steps come in another order, one is new, one is gone."""
    key = ctx.event.data["key"]
    for step in ("a", "b", "c") if ctx.attempt == 0 else ("c", "new", "a"):
        await ctx.step.run(step, note, key, step)
    if ctx.attempt == 0:
        raise RetryAfterError("in another order", AGAIN_SECONDS)
    return [await ctx.step.run("d", note, key, "d")]


@workflow("faults.inside")
async def inside(ctx: Context[KeyData]) -> str:
    async def nested() -> None:
        await ctx.step.run("inner", note, ctx.event.data["key"], "inner")

    try:
        await ctx.step.run("outer", nested)
    except StepError as error:
        return error.message
    return "nothing was raised"
