"""How long is it from an event that triggers 100 functions to the first line of the last of them?"""

from __future__ import annotations

import asyncio
import time

from benchmarks.harness.checks import ended_runs
from benchmarks.harness.figures import Figure, milliseconds
from benchmarks.harness.stage import Stage
from benchmarks.workflows import EVERYBODY

TIMES = 20
WARM_UP_TIMES = 3
PAUSE_SECONDS = 0.1


async def ask(stage: Stage) -> list[Figure]:
    """From the call, one event after the other."""
    await stage.open()
    found = [await once(stage) for _ in range(WARM_UP_TIMES + stage.size(TIMES))][WARM_UP_TIMES:]
    return [milliseconds("100 functions of one event, last one started, p50", found, 0.5, reach=100, aim=30)]


async def once(stage: Stage) -> float:
    await asyncio.sleep(PAUSE_SECONDS)
    sent = time.time()
    await stage.sender.send("benchmark.everybody")
    starts: list[float] = [
        run.output
        for number in range(EVERYBODY)
        for run in await ended_runs(stage.rows, f"everybody-{number}", 1, since=sent)
    ]
    return (max(starts) - sent) * 1_000
