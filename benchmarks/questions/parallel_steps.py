"""W3: how long does one run of 1,000 parallel steps take?"""

from __future__ import annotations

import time

from benchmarks.harness.checks import check_parallel, ended_runs
from benchmarks.harness.figures import Figure, milliseconds
from benchmarks.harness.stage import Stage

STEPS = 1_000
TIMES = 5


async def ask(stage: Stage) -> list[Figure]:
    """From the call that starts it to the commit of its end, five times after one that does not count."""
    await stage.open()
    steps = stage.size(STEPS)
    found = [await once(stage, n, steps) for n in range(TIMES + 1)][1:]
    return [milliseconds("W3: 1,000 parallel steps, p50", found, 0.5, reach=300, aim=80)]


async def once(stage: Stage, n: int, steps: int) -> float:
    began = time.time()
    await stage.sender.send("benchmark.fan-out", {"n": n, "steps": steps})
    (run,) = await ended_runs(stage.rows, "fan-out", 1, since=began)
    await check_parallel(stage.rows, run)
    return (run.committed - began) * 1_000
