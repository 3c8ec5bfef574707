"""The chain of steps as a Restate service, on hypercorn: `PORT` and `LEDGER` are in the environment.

Each completed run is a line in the file LEDGER: its number, its result, and when each step began.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import restate
from hypercorn.asyncio import serve
from hypercorn.config import Config

from benchmarks.arithmetic import after

bench = restate.Service("bench")
ledger = open(os.environ["LEDGER"], "a", buffering=1, encoding="ascii")  # noqa: SIM115


async def advance(value: int, k: int) -> list[float]:
    began = time.time()
    return [after(value, k), began]


@bench.handler()
async def chain(ctx: restate.Context, data: dict[str, Any]) -> int:
    value, begins = data["n"], []
    for k in range(data["steps"]):
        value, began = await ctx.run_typed(f"step-{k}", advance, restate.RunOptions(), int(value), k)
        begins.append(repr(began))
    ledger.write(f"{data['n']} {int(value)} {' '.join(begins)}\n")
    return int(value)


if __name__ == "__main__":
    config = Config()
    config.bind = [f"127.0.0.1:{os.environ['PORT']}"]
    config.h2_max_concurrent_streams = 2_147_483_647
    config.keep_alive_max_requests = 2_147_483_647
    asyncio.run(serve(restate.app([bench]), config))
