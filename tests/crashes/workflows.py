"""The workflows whose processes are killed: `rotor worker tests.crashes.workflows`, or served by `served.py`."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

from rotor import Context, SyncContext, create_function
from tests.conformance.ledger import is_open, note

__all__ = ["FUNCTIONS"]


async def step_of(key: str, number: int, seconds: float) -> int:
    note(key, str(number))
    await asyncio.sleep(seconds)
    return number


@create_function(id="chain", trigger={"event": "chain"})
async def chain(ctx: Context[dict[str, Any]]) -> int:
    data = ctx.event.data
    total = 0
    for number in range(data["steps"]):
        total += await ctx.step.run("link", step_of, data["key"], number, data.get("seconds", 0.0))
        if data.get("naps"):
            await ctx.step.sleep("nap", data["naps"])
    return total


async def pass_gate(key: str) -> str:
    note(key, "begin")
    while not is_open(key):  # noqa: ASYNC110  (another process opens it)
        await asyncio.sleep(0.02)
    return note(key, "end")


@create_function(id="gated", trigger={"event": "gated"})
async def gated(ctx: Context[dict[str, Any]]) -> list[str]:
    """A step, one that lasts until its gate is open, and one after."""
    key = ctx.event.data["key"]
    before = await ctx.step.run("before", note, key, "before")
    during = await ctx.step.run("gate", pass_gate, key)
    return [before, during, await ctx.step.run("after", note, key, "after")]


def pass_gate_in_thread(key: str) -> str:
    note(key, "begin")
    while not is_open(key):
        time.sleep(0.02)
    return note(key, "end")


@create_function(id="plain", trigger={"event": "plain"})
def plain(ctx: SyncContext[dict[str, Any]]) -> list[str]:
    """`gated`, in threads."""
    key = ctx.event.data["key"]
    before = ctx.step.run("before", note, key, "before")
    during = ctx.step.run("gate", pass_gate_in_thread, key)
    return [before, during, ctx.step.run("after", note, key, "after")]


def die(key: str) -> None:
    note(key, "die")
    os.kill(os.getpid(), signal.SIGKILL)


@create_function(id="deadly", trigger={"event": "deadly"})
async def deadly(ctx: Context[dict[str, Any]]) -> None:
    """It kills its process, each time."""
    await ctx.step.run("die", die, ctx.event.data["key"])


@create_function(id="parking", trigger={"event": "parking"})
async def parking(ctx: Context[dict[str, Any]]) -> list[Any]:
    """It waits for an event, a signal and a while, with a step around each."""
    key = ctx.event.data["key"]
    await ctx.step.run("one", note, key, "one")
    event = await ctx.step.wait_for_event("event", event="news", match={"data.key": key}, timeout="6h")
    await ctx.step.run("two", note, key, "two")
    data = await ctx.step.wait_for_signal("signal", signal=f"signal-{key}", timeout="6h")
    await ctx.step.run("three", note, key, "three")
    await ctx.step.sleep("nap", 0.2)
    await ctx.step.run("four", note, key, "four")
    return [event is not None and event.data, data]


FUNCTIONS = [chain, gated, plain, deadly, parking]
