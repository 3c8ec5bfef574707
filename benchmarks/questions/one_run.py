"""W1: how long does one run of 10 steps take alone, and how long one step of it?"""

from __future__ import annotations

import time
from itertools import pairwise

from benchmarks.harness.checks import check_chains
from benchmarks.harness.figures import Figure, WrongError, percentile
from benchmarks.harness.stage import Stage
from rotor import Rotor

RUNS = 100
STEPS = 10
WARM_UP_RUNS = 20


async def ask(stage: Stage) -> list[Figure]:
    """One after the other, each from the call that starts it to its result in the caller's hand."""
    await stage.server()
    await stage.worker()
    client = stage.client()
    for n in range(WARM_UP_RUNS):
        await run_once(client, n)
    seen, durable = [], []
    for n in range(WARM_UP_RUNS, WARM_UP_RUNS + RUNS):
        began = time.time()
        run_id = await run_once(client, n)
        seen.append((time.time() - began) * 1_000)
        durable.append((await committed(stage, run_id) - began) * 1_000)
    begins = (await check_chains(stage.rows, WARM_UP_RUNS + RUNS))[WARM_UP_RUNS:]
    steps = [(later - earlier) * 1_000 for run in begins for earlier, later in pairwise(run)]
    return [
        figure("W1: one run of 10 steps, p50, start to result", seen, reach=15, aim=8),
        figure("W1: one run of 10 steps, p50, start to its end on disk", durable, reach=15, aim=8),
        figure("W1: one step, p50", steps, reach=1.1, aim=0.7),
    ]


async def run_once(client: Rotor, n: int) -> str:
    event_id = await client.send("benchmark.chain", {"n": n, "steps": STEPS})
    (run,) = (await client.events.get(event_id)).runs
    ended = await client.runs.wait(run.id, timeout="10s")
    if ended.status != "completed":
        raise WrongError(f"run {run.id} has {ended.status}")
    return run.id


async def committed(stage: Stage, run_id: str) -> float:
    moment: float = await stage.rows.fetchval(
        "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM runs WHERE id = $1", run_id
    )
    return moment


def figure(what: str, milliseconds: list[float], *, reach: float, aim: float) -> Figure:
    return Figure(
        what=what,
        value=percentile(milliseconds, 0.5),
        unit="ms",
        better="less",
        reach=reach,
        aim=aim,
        details={"p10": percentile(milliseconds, 0.1), "p90": percentile(milliseconds, 0.9)},
    )
