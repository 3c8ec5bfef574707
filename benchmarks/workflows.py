"""The workflows that are measured. Their steps do nothing but say when they began, so that what is left is the engine.

A step returns its value and the time at which its body began. With that, and the time of each commit that Postgres
has on record, `checks.py` shows for every run that each step was committed before the next began. In runs that are
asked to (`"witness": true`), each step body also looks itself: the step before it must be there for another
connection to see.
"""

from __future__ import annotations

import os
import time
from typing import Any

import asyncpg

from rotor import Context, create_function
from rotor.errors import NonRetriableError

Stamped = tuple[int, float]
"""The value of a step, and when its body began (seconds since the epoch)."""

MODULUS = 1_000_003


def after(value: int, k: int) -> int:
    """The value of step `k`, given that of the step before."""
    return (value * 31 + k) % MODULUS


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


connections: list[asyncpg.Pool[Any]] = []


async def look_for(run_id: str, step_id: str) -> None:
    """Fail the run unless its step is committed for all to see."""
    if not connections:
        pool = asyncpg.create_pool(
            os.environ["DATABASE_URL"],
            min_size=1,
            max_size=2,
            server_settings={"search_path": os.environ["ROTOR_SCHEMA"]},
        )
        connections.append(pool)
        await pool
    pool = await connections[0]
    status = await pool.fetchval("SELECT status FROM steps WHERE run_id = $1 AND id = $2", run_id, step_id)
    if status != "completed":
        raise NonRetriableError(f"step {step_id} was {status} when the next began")


functions = [chain]
