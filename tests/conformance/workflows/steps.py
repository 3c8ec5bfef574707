"""Steps with bodies, sleeps, and step ids."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

from rotor import Context, current_step
from tests.conformance.ledger import is_open, note
from tests.conformance.workflows import KeyData, workflow

ODD_IDS = ("a", "a:1", "a#1", "a[1]", "a/1", "a\\", "a\n", " ", "é", "e\u0301", "😀", "x" * 256)


async def in_the_loop(key: str) -> str:
    await asyncio.sleep(0)
    asyncio.get_running_loop()
    return note(key, "async body")


def in_a_thread(key: str) -> list[bool]:
    """A plain body: whether a loop runs in its thread, and whether that is the main thread."""
    note(key, "sync body")
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return [False, threading.current_thread() is threading.main_thread()]
    return [True, threading.current_thread() is threading.main_thread()]


@workflow("steps.bodies")
async def bodies(ctx: Context[KeyData]) -> dict[str, Any]:
    key = ctx.event.data["key"]
    first = await ctx.step.run("async", in_the_loop, key)
    second = await ctx.step.run("sync", in_a_thread, key)
    return {"async": first, "sync": second, "event": ctx.event.name, "function": ctx.function_id, "run": ctx.run_id}


@workflow("steps.sleeps")
async def sleeps(ctx: Context[KeyData]) -> None:
    await ctx.step.sleep("text", "200ms")
    await ctx.step.sleep("timedelta", timedelta(milliseconds=100))
    await ctx.step.sleep("seconds", 0.1)
    await ctx.step.sleep_until("soon", ctx.event.ts + timedelta(seconds=1))
    await ctx.step.sleep_until("long past", "2001-01-01T00:00:00+01:00")


@workflow("steps.one-id")
async def one_id(ctx: Context[KeyData]) -> list[str]:
    """The same id five times, the last for something else."""
    key = ctx.event.data["key"]
    words = [await ctx.step.run("same", note, key, f"use {number}") for number in range(4)]
    await ctx.step.sleep("same", 0)
    return words


@workflow("steps.odd-ids")
async def odd_ids(ctx: Context[KeyData]) -> list[str]:
    """Every odd id twice: no use of one may be taken for a use of another."""
    key = ctx.event.data["key"]
    return [
        await ctx.step.run(odd, note, key, f"{number}-{use}") for use in range(2) for number, odd in enumerate(ODD_IDS)
    ]


def which_try() -> list[Any]:
    step = current_step()
    return [step.id, step.index, step.attempt, step.run_id]


@workflow("steps.current")
async def current(ctx: Context[KeyData]) -> list[Any]:
    await ctx.step.run("which", which_try)
    return await ctx.step.run("which", which_try)


@workflow("steps.slow")
async def slow(ctx: Context[KeyData]) -> str:
    """One step that can be cancelled while it runs, then another."""
    key = ctx.event.data["key"]

    async def work() -> str:
        note(key, "begins")
        while not is_open(key):  # noqa: ASYNC110 - the test opens it
            await asyncio.sleep(0.02)
        return note(key, "ends")

    await ctx.step.run("slow", work)
    return await ctx.step.run("later", note, key, "later")
