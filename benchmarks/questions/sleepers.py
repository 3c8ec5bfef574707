"""W4: how fast do 20,000 runs go to sleep, what memory do they take, how late do 1,000 wake that are due at once?"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from benchmarks.harness.checks import ended_runs, until_status
from benchmarks.harness.figures import Figure, WrongError, milliseconds
from benchmarks.harness.load import send
from benchmarks.harness.stage import Stage
from benchmarks.harness.usage import memory_bytes

SLEEPERS = 20_000
WARM_UP = 2_000
DUE = 1_000
LEAD_SECONDS = 4
SETTLE_SECONDS = 3
HOUR = 3_600


async def ask(stage: Stage) -> list[Figure]:
    """Lateness is from the deadline to the body's next line. None may wake early."""
    await stage.open()
    await park(stage, stage.size(WARM_UP), [time.time() + HOUR])
    spread_out, at_once = await lateness(stage, 1.0), await lateness(stage, 0.0)
    await asyncio.sleep(SETTLE_SECONDS)
    programs = [tree for tree in stage.trees if tree.name != "postgres"]
    before, sleepers = memory_bytes(programs), stage.size(SLEEPERS)
    rate = await park(stage, sleepers, [time.time() + HOUR])
    await asyncio.sleep(SETTLE_SECONDS)
    grown = (memory_bytes(programs) - before) / 1e6
    return [
        Figure(what="W4: parking 20,000 sleepers", value=rate, unit="runs/s", reach=5_000, aim=15_000),
        milliseconds("W4: 1,000 due in one second, lateness p99", spread_out, 0.99, reach=250, aim=100),
        milliseconds("W4: 1,000 due at one instant, lateness p99", at_once, 0.99),
        Figure(what="W4: memory grown by server and worker", value=grown, unit="MB", better="less", reach=20, aim=5),
    ]


async def park(stage: Stage, runs: int, deadlines: list[float]) -> float:
    """How many a second went to sleep, from the first call to the commit of the last parking."""
    began = time.time()
    untils = [datetime.fromtimestamp(deadline, UTC).isoformat() for deadline in deadlines]
    await send(stage, "benchmark.sleeper", [{"n": n, "until": untils[n % len(untils)]} for n in range(runs)])
    await until_status(stage.rows, "sleeper", runs, since=began, statuses=("waiting",))
    last: float = await stage.rows.fetchval(
        """
        SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin)))::float8 FROM runs
        WHERE function_id = 'sleeper' AND created_at >= to_timestamp($1)
        """,
        began,
    )
    return runs / (last - began)


async def lateness(stage: Stage, within_seconds: float) -> list[float]:
    runs, since = stage.size(DUE), time.time()
    due = since + LEAD_SECONDS
    await park(stage, runs, [due + n / runs * within_seconds for n in range(runs)])
    if time.time() > due:
        raise WrongError(f"{runs} runs were not asleep within {LEAD_SECONDS} s")
    ended = await ended_runs(stage.rows, "sleeper", runs, since=since)
    late = [(run.output - datetime.fromisoformat(run.data["until"]).timestamp()) * 1_000 for run in ended]
    if min(late) < 0:
        raise WrongError("a sleep ended early")
    return late
