"""Does it go on as it began: at half of W2's rate for minutes, is it as fast at the end, and do dead rows pile up?"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness.figures import Figure, milliseconds, percentile
from benchmarks.harness.load import burst
from benchmarks.harness.stage import Stage
from benchmarks.questions.latency_under_load import at_rate
from benchmarks.questions.sequential_steps import STEPS

PARTS = 10
DEAD = "SELECT relname, n_dead_tup, n_live_tup FROM pg_stat_user_tables WHERE schemaname = $1 AND n_dead_tup > 0"


async def ask(stage: Stage) -> list[Figure]:
    """`--minutes 10` is what counts; one minute shows that it works. In ten parts, the first compared to the last."""
    await stage.open()
    await burst(stage, 200, STEPS)
    first = await burst(stage, stage.size(2_000), STEPS)
    parts, dead, costs = [], [await dead_rows(stage)], []
    for _ in range(PARTS):
        used = stage.usage()
        parts.append(await at_rate(stage, first.rate / 2, stage.minutes * 60 / PARTS))
        costs.append(stage.usage().since(used)["all"] / (len(parts[-1]) * STEPS / (STEPS - 1)) * 1_000)
        dead.append(await dead_rows(stage))
    last = await burst(stage, stage.size(2_000), STEPS)
    details = {"dead_rows": dead, "p99_ms": [percentile(part, 0.99) for part in parts], "cpu_per_1000": costs}
    return [
        Figure(
            what="a burst after the endurance run over one before",
            value=last.rate / first.rate,
            unit="times",
            reach=0.8,
            aim=1.0,
            details=details,
        ),
        milliseconds("a step in the last tenth of the endurance run, p99", parts[-1], 0.99, reach=25),
        Figure(
            what="most dead rows in the second half over most in the first",
            value=most(dead[PARTS // 2 + 1 :]) / most(dead[: PARTS // 2 + 1]),
            unit="times",
            better="less",
        ),
    ]


async def dead_rows(stage: Stage) -> dict[str, int]:
    return {row["relname"]: row["n_dead_tup"] for row in await stage.rows.fetch(DEAD, stage.schema)}


def most(samples: Sequence[dict[str, int]]) -> int:
    """The most of all tables together: they come and go with each vacuum."""
    return max(sum(each.values()) for each in samples)
