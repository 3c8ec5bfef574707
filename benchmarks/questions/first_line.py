"""W6: how long is it from an event to the first line of the code that it starts, on an idle machine?"""

from __future__ import annotations

import asyncio
import time

from benchmarks.harness.checks import ended_runs
from benchmarks.harness.figures import Figure, WrongError, milliseconds
from benchmarks.harness.stage import Stage

EVENTS = 300
WARM_UP_EVENTS = 30
PAUSE_SECONDS = 0.03


async def ask(stage: Stage) -> list[Figure]:
    """One event after the other, with a pause that lets everything come to rest."""
    await stage.open()
    await latencies(stage, WARM_UP_EVENTS)
    found = await latencies(stage, stage.size(EVENTS))
    return [
        milliseconds("W6: event to first line, p50", found, 0.5, reach=5, aim=2.5),
        milliseconds("W6: event to first line, p99", found, 0.99, reach=15, aim=6),
    ]


async def latencies(stage: Stage, count: int) -> list[float]:
    first, sent = time.time(), {}
    for n in range(count):
        await asyncio.sleep(PAUSE_SECONDS)
        sent[n] = time.time()
        await stage.sender.send("benchmark.first-line", {"n": n})
    ended = await ended_runs(stage.rows, "first-line", count, since=first)
    found = [(run.output - sent[run.data["n"]]) * 1_000 for run in ended]
    if min(found) < 0:
        raise WrongError("a run began before its event was sent")
    return found
