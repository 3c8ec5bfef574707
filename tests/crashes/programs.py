"""The workflows of the campaigns, once for workers and once for a serve app.

Each body writes down that it ran, and what it returned.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import rotor
from rotor import Context, SyncContext, create_function
from rotor.errors import StepError
from rotor.sdk.functions import Function
from tests.conformance.ledger import FOLDER

__all__ = ["BODIES", "BY_APP", "BY_WORKER", "KINDS"]

BODIES: Final = "bodies"
"""The file in the ledger's folder: one line of JSON each time that a body begins, returns or raises."""
KINDS: Final = ("chain", "fan", "flaky", "once", "waiting", "parent", "plain")


def write(what: str, value: str = "") -> None:
    """Write a line. Safe from several threads and processes at once."""
    step = rotor.current_step()
    line = {
        "what": what,
        "run": step.run_id,
        "step": step.id,
        "index": step.index,
        "pid": os.getpid(),
        "at": time.time(),
        "value": value,
    }
    file = os.open(Path(os.environ[FOLDER], BODIES), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)


async def work(seconds: float) -> str:
    """Something that no other body returns."""
    write("begin")
    await asyncio.sleep(seconds)
    value = uuid4().hex
    write("return", value)
    return value


def work_in_thread(seconds: float) -> str:
    write("begin")
    time.sleep(seconds)
    value = uuid4().hex
    write("return", value)
    return value


async def fail_first(seconds: float) -> str:
    """Its only retry is needed: a crash of ours must not use it up."""
    if rotor.current_step().attempt == 0:
        write("begin")
        write("raise")
        raise ValueError("not the first time")
    return await work(seconds)


def programs(prefix: str) -> list[Function[Any, Any]]:
    """One function of each kind, started by the event `PREFIX/KIND` with a `key` and the `seconds` of its steps."""

    @create_function(id=f"{prefix}-chain", trigger={"event": f"{prefix}/chain"})
    async def chain(ctx: Context[dict[str, Any]]) -> list[str]:
        done = []
        for number in range(ctx.event.data.get("steps", 4)):
            done.append(await ctx.step.run("link", work, ctx.event.data["seconds"]))
            if number % 2:
                await ctx.step.sleep("nap", 0.3)
        return done

    @create_function(id=f"{prefix}-fan", trigger={"event": f"{prefix}/fan"})
    async def fan(ctx: Context[dict[str, Any]]) -> list[str]:
        seconds = ctx.event.data["seconds"]
        sides = [ctx.step.run(f"side-{number}", work, seconds) for number in range(3)]
        return [*await asyncio.gather(*sides), await ctx.step.run("join", work, seconds)]

    @create_function(id=f"{prefix}-flaky", trigger={"event": f"{prefix}/flaky"}, retries=0)
    async def flaky(ctx: Context[dict[str, Any]]) -> str:
        return await ctx.step.run("flaky", fail_first, ctx.event.data["seconds"], retries=1)

    @create_function(id=f"{prefix}-once", trigger={"event": f"{prefix}/once"})
    async def once(ctx: Context[dict[str, Any]]) -> str:
        try:
            return await ctx.step.run("once", work, ctx.event.data["seconds"], at_most_once=True)
        except StepError:
            return "in doubt"

    @create_function(id=f"{prefix}-waiting", trigger={"event": f"{prefix}/waiting"})
    async def waiting(ctx: Context[dict[str, Any]]) -> list[Any]:
        key = ctx.event.data["key"]
        event = await ctx.step.wait_for_event("event", event="news", match={"data.key": key}, timeout="10m")
        between = await ctx.step.run("between", work, ctx.event.data["seconds"])
        data = await ctx.step.wait_for_signal("signal", signal=f"signal-{key}", timeout="10m")
        return [event.id if event is not None else None, between, data]

    @create_function(id=f"{prefix}-parent", trigger={"event": f"{prefix}/parent"})
    async def parent(ctx: Context[dict[str, Any]]) -> list[Any]:
        key, seconds = ctx.event.data["key"], ctx.event.data["seconds"]
        child = await ctx.step.invoke(
            "child",
            workflow=f"{prefix}-chain",
            data={"key": f"{key}-child", "seconds": seconds, "steps": 2},
            timeout="10m",
        )
        await ctx.step.send_event("echo", name=f"{prefix}/echo", data={"key": key, "seconds": seconds})
        return [child.run_id, child.result]

    @create_function(id=f"{prefix}-echo", trigger={"event": f"{prefix}/echo"})
    async def echo(ctx: Context[dict[str, Any]]) -> str:
        return await ctx.step.run("echo", work, ctx.event.data["seconds"])

    @create_function(id=f"{prefix}-plain", trigger={"event": f"{prefix}/plain"})
    def plain(ctx: SyncContext[dict[str, Any]]) -> list[str]:
        seconds = ctx.event.data["seconds"]
        first = ctx.step.run("first", work_in_thread, seconds)
        ctx.step.sleep("nap", 0.2)
        return [first, ctx.step.run("second", work_in_thread, seconds)]

    return [chain, fan, flaky, once, waiting, parent, echo, plain]


BY_WORKER = programs("w")
BY_APP = programs("s")
