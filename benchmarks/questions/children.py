"""W7: how long does a run take that invokes 100 children and waits for them, and one with 1,000?"""

from __future__ import annotations

import time

from benchmarks.arithmetic import after
from benchmarks.harness.checks import ended_runs
from benchmarks.harness.figures import Figure, WrongError, milliseconds
from benchmarks.harness.stage import Stage

TIMES = 5


async def ask(stage: Stage) -> list[Figure]:
    """From the call that starts the parent to the commit of its end, five times after one that does not count."""
    await stage.open()
    hundred = [await once(stage, n, 100) for n in range(TIMES + 1)][1:]
    figures = [milliseconds("W7: 100 children, p50", hundred, 0.5, reach=60, aim=25)]
    if not stage.quick:
        thousand = [await once(stage, n, 1_000) for n in range(TIMES)]
        figures.append(milliseconds("W7: 1,000 children, p50", thousand, 0.5, reach=600, aim=200))
    return figures


async def once(stage: Stage, n: int, children: int) -> float:
    began = time.time()
    await stage.sender.send("benchmark.parent", {"n": n, "children": children})
    (run,) = await ended_runs(stage.rows, "parent", 1, since=began)
    if run.output != sum(after(n + k, 0) for k in range(children)):
        raise WrongError(f"the parent returned {run.output}")
    ends = [child.committed for child in await ended_runs(stage.rows, "child", children, since=began)]
    if max(ends) > run.committed:
        raise WrongError("the parent ended before the end of a child was committed")
    return (run.committed - began) * 1_000
