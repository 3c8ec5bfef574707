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
    await stage.open()
    bursts = await repeated(stage)
    return [
        rate("W2: 2,000 runs x 5 steps", bursts, reach=10_000, aim=25_000),
        cost("W2: CPU of all processes per 1,000 steps", bursts, reach=0.12, aim=0.05),
    ]


async def repeated(stage: Stage) -> list[Burst]:
    """A small burst that does not count, then the same one several times."""
    await burst(stage, WARM_UP_RUNS, STEPS)
    return [await burst(stage, stage.size(RUNS), STEPS) for _ in range(TIMES)]


def rate(what: str, bursts: list[Burst], *, reach: float | None = None, aim: float | None = None) -> Figure:
    rates = spread([each.rate for each in bursts])
    return Figure(what=what, value=rates["middle"], unit="steps/s", reach=reach, aim=aim, details=rates)


def cost(what: str, bursts: list[Burst], *, reach: float | None = None, aim: float | None = None) -> Figure:
    costs = spread([each.cpu_per_1000 for each in bursts])
    return Figure(
        what=what,
        value=costs["middle"],
        unit="s",
        better="less",
        reach=reach,
        aim=aim,
        details={**costs, "by_process_seconds": [each.used for each in bursts]},
    )
