"""The chain of steps in DBOS, which runs in its caller's process: measures itself and prints one JSON document.

Usage: python -m benchmarks.peers.dbos_app DSN POSTGRES_PROCESS RUNS STEPS TIMES SINGLE_RUNS SINGLE_STEPS
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import pairwise
from typing import Any

from dbos import DBOS

from benchmarks.arithmetic import after, expected_value
from benchmarks.harness.usage import Tree, usage

WARM_UP_RUNS = 50


@DBOS.step()
async def advance(value: int, k: int) -> list[float]:
    began = time.time()
    return [after(value, k), began]


@DBOS.workflow()
async def chain(n: int, steps: int) -> list[Any]:
    value, begins = n, []
    for k in range(steps):
        result, began = await advance(value, k)
        value = int(result)
        begins.append(began)
    return [value, begins]


async def started(n: int, steps: int) -> list[float]:
    """Run one to its end and check it; when its steps began."""
    handle = await DBOS.start_workflow_async(chain, n, steps)
    value, begins = await handle.get_result()
    if value != expected_value(n, steps):
        raise ValueError(f"{value} of {n} is wrong")
    found: list[float] = begins
    return found


async def burst(runs: int, steps: int, trees: list[Tree]) -> tuple[float, float]:
    """Steps a second, and CPU seconds of this process and Postgres per 1,000 steps."""
    before, used, began = usage(trees), time.process_time(), time.time()
    await asyncio.gather(*(started(n, steps) for n in range(runs)))
    seconds = time.time() - began
    spent = usage(trees).since(before)["all"] + time.process_time() - used
    return runs * steps / seconds, spent / (runs * steps) * 1_000


async def measure(arguments: list[int]) -> dict[str, list[float]]:
    postgres, runs, steps, times, single_runs, single_steps = arguments
    trees = [Tree("postgres", postgres)]
    await burst(WARM_UP_RUNS, steps, trees)
    bursts = [await burst(runs, steps, trees) for _ in range(times)]
    run_ms, step_ms = list[float](), list[float]()
    for n in range(single_runs):
        began = time.time()
        begins = await started(n, single_steps)
        run_ms.append((time.time() - began) * 1_000)
        step_ms += [(later - earlier) * 1_000 for earlier, later in pairwise(begins)]
    return {"rates": [b[0] for b in bursts], "costs": [b[1] for b in bursts], "run_ms": run_ms, "step_ms": step_ms}


if __name__ == "__main__":
    DBOS(config={"name": "bench", "system_database_url": sys.argv[1], "log_level": "ERROR", "run_admin_server": False})
    DBOS.launch()
    print(json.dumps(asyncio.run(measure([int(argument) for argument in sys.argv[2:8]]))))
    DBOS.destroy()
