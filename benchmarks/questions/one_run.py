"""W1: how long does one run of 10 steps take alone, and how long one step of it?"""

from __future__ import annotations

import time

from benchmarks.harness.checks import check_chains, ended_runs
from benchmarks.harness.figures import Figure, WrongError, milliseconds
from benchmarks.harness.load import step_milliseconds
from benchmarks.harness.stage import Stage
from rotor import Rotor

RUNS = 100
STEPS = 10
WARM_UP_RUNS = 20


async def ask(stage: Stage) -> list[Figure]:
    """One after the other, each from the call that starts it to its result in the caller's hand."""
    await stage.open()
    for n in range(WARM_UP_RUNS):
        await run_once(stage.sender, n)
    runs, first = stage.size(RUNS), time.time()
    seen, began = [], {}
    for n in range(runs):
        began[n] = time.time()
        await run_once(stage.sender, n)
        seen.append((time.time() - began[n]) * 1_000)
    ended = await ended_runs(stage.rows, "chain", runs, since=first)
    steps = step_milliseconds(await check_chains(stage.rows, ended, since=first))
    durable = [(run.committed - began[run.data["n"]]) * 1_000 for run in ended]
    return [
        milliseconds("W1: one run of 10 steps, p50, start to result", seen, 0.5, reach=15, aim=8),
        milliseconds("W1: one run of 10 steps, p50, start to its end on disk", durable, 0.5, reach=15, aim=8),
        milliseconds("W1: one step, p50", steps, 0.5, reach=1.1, aim=0.7),
    ]


async def run_once(client: Rotor, n: int) -> None:
    event_id = await client.send("benchmark.chain", {"n": n, "steps": STEPS})
    (run,) = (await client.events.get(event_id)).runs
    ended = await client.runs.wait(run.id, timeout="10s")
    if ended.status != "completed":
        raise WrongError(f"run {run.id} has {ended.status}")
