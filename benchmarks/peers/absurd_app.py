"""The chain of steps in Absurd, whose workers run in their caller's process: measures itself, prints a JSON document.

Usage: python -m benchmarks.peers.absurd_app DSN POSTGRES_PROCESS RUNS STEPS TIMES SINGLE_RUNS SINGLE_STEPS
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from functools import partial
from itertools import pairwise
from typing import Any

from absurd_sdk import AsyncAbsurd
from absurdctl import BUNDLED_SCHEMA_SQL
from psycopg import AsyncConnection

from benchmarks.arithmetic import after, expected_value
from benchmarks.harness.usage import Tree, usage

WORKERS = 8
"""Each has a connection of its own, and one transaction at a time."""
CONCURRENCY = 8
POLL_SECONDS = 0.02
LOOK_SECONDS = 0.005
WARM_UP_RUNS = 50
ENDED = "SELECT count(*), max(extract(epoch FROM completed_at))::float8 FROM absurd.r_default WHERE state = 'completed'"
RESULTS = "SELECT params->>'n', params->>'steps', completed_payload FROM absurd.t_default"


async def advance(value: int, k: int) -> list[float]:
    began = time.time()
    return [after(value, k), began]


async def chain(params: dict[str, int], ctx: Any) -> list[Any]:
    value, begins = params["n"], []
    for k in range(params["steps"]):
        result, began = await ctx.step(f"advance-{k}", partial(advance, value, k))
        value = int(result)
        begins.append(began)
    return [value, begins]


class Bench:
    """Workers in this process, a connection that sends and one that looks for what has ended."""

    def __init__(self, dsn: str, postgres: int, rows: AsyncConnection[Any]) -> None:
        self._trees = [Tree("postgres", postgres)]
        self._sender = AsyncAbsurd(dsn)
        self._workers = [AsyncAbsurd(dsn) for _ in range(WORKERS)]
        self._rows = rows
        self._sent = 0

    async def start(self) -> list[asyncio.Task[None]]:
        await self._rows.execute(BUNDLED_SCHEMA_SQL)
        await self._sender.create_queue()
        for app in (self._sender, *self._workers):
            app.register_task(name="chain")(chain)
        serving = [
            worker.start_worker(worker_id=f"w{number}", concurrency=CONCURRENCY, poll_interval=POLL_SECONDS)
            for number, worker in enumerate(self._workers)
        ]
        return [asyncio.create_task(duty) for duty in serving]

    async def send(self, runs: int, steps: int) -> None:
        for n in range(self._sent, self._sent + runs):
            await self._sender.spawn("chain", {"n": n, "steps": steps})
        self._sent += runs

    async def all_ended(self) -> float:
        """When the last of all that was sent had ended, by the same machine's clock in Postgres."""
        while True:
            row = await (await self._rows.execute(ENDED)).fetchone()
            assert row is not None
            if row[0] == self._sent:
                ended: float = row[1]
                return ended
            await asyncio.sleep(LOOK_SECONDS)

    async def burst(self, runs: int, steps: int) -> tuple[float, float]:
        """Steps a second, and CPU seconds of this process and Postgres per 1,000 steps."""
        before, used, began = usage(self._trees), time.process_time(), time.time()
        await self.send(runs, steps)
        seconds = await self.all_ended() - began
        spent = usage(self._trees).since(before)["all"] + time.process_time() - used
        return runs * steps / seconds, spent / (runs * steps) * 1_000

    async def begins(self) -> list[list[float]]:
        """When the steps of each run began; every result is checked."""
        found = []
        for n, steps, payload in await (await self._rows.execute(RESULTS)).fetchall():
            value, begins = payload
            if value != expected_value(int(n), int(steps)):
                raise ValueError(f"{value} of {n} is wrong")
            found.append(begins)
        return found


async def measure(dsn: str, postgres: int, sizes: list[int]) -> dict[str, list[float]]:
    runs, steps, times, single_runs, single_steps = sizes
    async with await AsyncConnection.connect(dsn, autocommit=True) as rows:
        bench = Bench(dsn, postgres, rows)
        serving = await bench.start()
        await bench.burst(WARM_UP_RUNS, steps)
        bursts = [await bench.burst(runs, steps) for _ in range(times)]
        run_ms = list[float]()
        for _ in range(single_runs):
            began = time.time()
            await bench.send(1, single_steps)
            run_ms.append((await bench.all_ended() - began) * 1_000)
        of_single = [begins for begins in await bench.begins() if len(begins) == single_steps]
        step_ms = [(later - earlier) * 1_000 for begins in of_single for earlier, later in pairwise(begins)]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
    return {"rates": [b[0] for b in bursts], "costs": [b[1] for b in bursts], "run_ms": run_ms, "step_ms": step_ms}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2]), [int(size) for size in sys.argv[3:8]]))))
