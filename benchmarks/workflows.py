"""The workflows that are measured. Their steps do nothing but say when they began, so that what is left is the engine.

A step returns its value and the time at which its body began. With that, and the time of each commit that Postgres
has on record, `checks.py` shows for every run that each step was committed before the next began. In runs that are
asked to (`"witness": true`), each step body also looks itself: the step before it must be there for another
connection to see.
"""

from __future__ import annotations

import asyncio
import os
import time
from datetime import datetime
from typing import Any

import asyncpg

from benchmarks.arithmetic import after
from rotor import Context, create_function
from rotor.errors import NonRetriableError
from rotor.sdk.functions import Function

Stamped = tuple[int, float]
"""The value of a step, and when its body began (seconds since the epoch)."""


async def advance(value: int, k: int) -> Stamped:
    began = time.time()
    return after(value, k), began


async def advance_and_look(value: int, k: int, run_id: str) -> Stamped:
    began = time.time()
    if k:
        await look_for(run_id, f"step-{k - 1}")
    return after(value, k), began


@create_function(id="chain", trigger={"event": "benchmark.chain"})
async def chain(ctx: Context) -> int:
    """Steps one after the other, each on the result of the one before."""
    data: dict[str, Any] = ctx.event.data
    value: int = data["n"]
    for k in range(data["steps"]):
        if data.get("witness"):
            value, _ = await ctx.step.run(f"step-{k}", advance_and_look, value, k, ctx.run_id)
        else:
            value, _ = await ctx.step.run(f"step-{k}", advance, value, k)
    return value


@create_function(id="chain-with-naps", trigger={"event": "benchmark.chain-with-naps"})
async def chain_with_naps(ctx: Context) -> int:
    """The same, asleep for a moment between any two steps: each is the first of a resumed run."""
    data: dict[str, Any] = ctx.event.data
    value: int = data["n"]
    for k in range(data["steps"]):
        value, _ = await ctx.step.run(f"step-{k}", advance, value, k)
        await ctx.step.sleep(f"nap-{k}", data["nap_seconds"])
    return value


@create_function(id="fan-out", trigger={"event": "benchmark.fan-out"})
async def fan_out(ctx: Context) -> int:
    """Steps side by side."""
    data: dict[str, Any] = ctx.event.data
    steps = (ctx.step.run(f"step-{k}", advance, data["n"], k) for k in range(data["steps"]))
    return sum(value for value, _ in await asyncio.gather(*steps))


@create_function(id="parent", trigger={"event": "benchmark.parent"})
async def parent(ctx: Context) -> int:
    """Children side by side."""
    data: dict[str, Any] = ctx.event.data
    children = (
        ctx.step.invoke(f"child-{k}", workflow="child", data={"n": data["n"] + k}, timeout="5m")
        for k in range(data["children"])
    )
    return sum(child.result for child in await asyncio.gather(*children))


@create_function(id="child", trigger={"event": "benchmark.child"})
async def child(ctx: Context) -> int:
    return after(ctx.event.data["n"], 0)


@create_function(id="waiter", trigger={"event": "benchmark.waiter"})
async def waiter(ctx: Context) -> int:
    """Waits for the one event that is meant for it."""
    answer = await ctx.step.wait_for_event(
        "answer", event="benchmark.answer", match={"data.n": ctx.event.data["n"]}, timeout="1h"
    )
    if answer is None:
        raise NonRetriableError("no answer came")
    value: int = answer.data["value"]
    return value


@create_function(id="sleeper", trigger={"event": "benchmark.sleeper"})
async def sleeper(ctx: Context) -> float:
    """Sleeps until an instant, and returns when it woke."""
    await ctx.step.sleep_until("nap", datetime.fromisoformat(ctx.event.data["until"]))
    return time.time()


@create_function(id="first-line", trigger={"event": "benchmark.first-line"})
async def first_line(ctx: Context) -> float:
    return time.time()


def one_of_many(number: int) -> Function[Any, Any]:
    """One of the functions that one event starts."""

    @create_function(id=f"everybody-{number}", trigger={"event": "benchmark.everybody"})
    async def everybody(ctx: Context) -> float:
        return time.time()

    return everybody


pools: list[asyncpg.Pool[Any]] = []


async def leave_as_it_is(_: asyncpg.Connection[Any]) -> None:
    """A look changes nothing of its session, and to reset that would cost more than the look."""


async def look_for(run_id: str, step_id: str) -> None:
    """Fail the run unless its step is committed for all to see."""
    if not pools:
        pool = asyncpg.create_pool(
            os.environ["DATABASE_URL"],
            min_size=1,
            max_size=2,
            reset=leave_as_it_is,
            server_settings={"search_path": os.environ["ROTOR_SCHEMA"]},
        )
        pools.append(pool)
        await pool
    pool = await pools[0]
    status = await pool.fetchval("SELECT status FROM steps WHERE run_id = $1 AND id = $2", run_id, step_id)
    if status != "completed":
        raise NonRetriableError(f"step {step_id} was {status} when the next began")


EVERYBODY = 100

functions = [
    chain,
    chain_with_naps,
    fan_out,
    parent,
    child,
    waiter,
    sleeper,
    first_line,
    *(one_of_many(number) for number in range(EVERYBODY)),
]
