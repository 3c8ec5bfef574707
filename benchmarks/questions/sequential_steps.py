"""W2: how many steps a second, in 2,000 runs of 5 sequential steps each, and what do they cost?"""

from __future__ import annotations

from benchmarks.harness.figures import Figure, spread
from benchmarks.harness.load import Burst, burst
from benchmarks.harness.stage import Stage

RUNS = 2_000
STEPS = 5
TIMES = 3
WARM_UP_RUNS = 200


async def ask(stage: Stage) -> list[Figure]:
    """Server, worker and Postgres are processes of their own."""
    await stage.server()
    await stage.worker()
    return figures("W2: 2,000 runs x 5 steps", await repeated(stage), reach=10_000, aim=25_000)


async def repeated(stage: Stage) -> list[Burst]:
    """A small burst that does not count, then the same one several times."""
    await burst(stage, WARM_UP_RUNS, STEPS)
    return [await burst(stage, RUNS, STEPS, before=WARM_UP_RUNS + n * RUNS) for n in range(TIMES)]


def figures(what: str, bursts: list[Burst], *, reach: float, aim: float) -> list[Figure]:
    rates = spread([each.rate for each in bursts])
    costs = spread([each.cpu_per_1000 for each in bursts])
    return [
        Figure(what=what, value=rates["middle"], unit="steps/s", reach=reach, aim=aim, details=rates),
        Figure(
            what=f"{what}: CPU of all processes per 1,000 steps",
            value=costs["middle"],
            unit="s",
            better="less",
            reach=0.12,
            aim=0.05,
            details={**costs, "by_process_seconds": [each.used for each in bursts]},
        ),
    ]
