"""What does step 10,000 of a run cost over step 10: while the run is hot, and with a sleep between any two steps?"""

from __future__ import annotations

import statistics
import time
from itertools import pairwise

from benchmarks.harness.checks import Span, check_chains, ended_runs
from benchmarks.harness.figures import Figure
from benchmarks.harness.load import send
from benchmarks.harness.stage import Stage

STEPS = 10_000
WINDOW = 200
"""So many steps from step 10 on are compared to the last ones."""
NAP_SECONDS = 0.001


async def ask(stage: Stage) -> list[Figure]:
    """Two runs of 10,000 steps. The cost of a step is the time until the next one begins, without its nap."""
    await stage.open()
    await steps_of(stage, "chain", 100)
    await steps_of(stage, "chain-with-naps", 20)
    hot = await steps_of(stage, "chain", stage.size(STEPS))
    napping = await steps_of(stage, "chain-with-naps", stage.size(STEPS))
    return [
        ratio("step 10,000 over step 10, hot", hot, 0.0, reach=1.2, aim=1.0),
        ratio("step 10,000 over step 10, with a sleep between each", napping, NAP_SECONDS, reach=2, aim=1.2),
    ]


async def steps_of(stage: Stage, function_id: str, steps: int) -> list[Span]:
    since = time.time()
    await send(stage, f"benchmark.{function_id}", [{"n": 1, "steps": steps, "nap_seconds": NAP_SECONDS}])
    ended = await ended_runs(stage.rows, function_id, 1, since=since)
    (spans,) = await check_chains(stage.rows, ended, since=since)
    return spans


def ratio(what: str, spans: list[Span], nap_seconds: float, *, reach: float, aim: float) -> Figure:
    costs = [after.began - before.began - nap_seconds for before, after in pairwise(spans)]
    early, late = statistics.median(costs[10 : 10 + WINDOW]), statistics.median(costs[-WINDOW:])
    details = {"early_ms": early * 1_000, "late_ms": late * 1_000, "steps": len(spans)}
    return Figure(what=what, value=late / early, unit="times", better="less", reach=reach, aim=aim, details=details)
