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
TIMES = 3
GIVEN_UP_AFTER_SECONDS = 900


async def ask(stage: Stage) -> list[Figure]:
    """Runs of 10,000 steps. The cost of a step is the time until the next one begins, without its nap."""
    await stage.open()
    await steps_of(stage, "chain", 100)
    await steps_of(stage, "chain-with-naps", 20)
    hot = [await steps_of(stage, "chain", stage.size(STEPS)) for _ in range(TIMES)]
    napping = await steps_of(stage, "chain-with-naps", stage.size(STEPS))
    return [
        ratio("step 10,000 over step 10, hot", hot, 0.0, reach=1.2, aim=1.0),
        ratio("step 10,000 over step 10, with a sleep between each", [napping], NAP_SECONDS, reach=2, aim=1.2),
    ]


async def steps_of(stage: Stage, function_id: str, steps: int) -> list[Span]:
    since = time.time()
    await send(stage, f"benchmark.{function_id}", [{"n": 1, "steps": steps, "nap_seconds": NAP_SECONDS}])
    ended = await ended_runs(stage.rows, function_id, 1, since=since, within_seconds=GIVEN_UP_AFTER_SECONDS)
    (spans,) = await check_chains(stage.rows, ended, since=since)
    return spans


def ratio(what: str, runs: list[list[Span]], nap_seconds: float, *, reach: float, aim: float) -> Figure:
    """The middle of the runs' ratios."""
    early, late = [], []
    for spans in runs:
        costs = [(after.began - before.began - nap_seconds) * 1_000 for before, after in pairwise(spans)]
        early.append(statistics.median(costs[10 : 10 + WINDOW]))
        late.append(statistics.median(costs[-WINDOW:]))
    value = statistics.median(last / first for first, last in zip(early, late, strict=True))
    details = {"early_ms": early, "late_ms": late, "steps": len(runs[0])}
    return Figure(what=what, value=value, unit="times", better="less", reach=reach, aim=aim, details=details)
