"""W5: how many waiting runs a second does a burst of events complete, and how soon does one event, when all is idle?"""

from __future__ import annotations

import asyncio
import time

from benchmarks.arithmetic import after
from benchmarks.harness.checks import ended_runs, until_status
from benchmarks.harness.figures import Figure, WrongError, milliseconds, spread
from benchmarks.harness.load import last_commit, send
from benchmarks.harness.stage import Stage

RUNS = 2_000
TIMES = 3
IDLE_EVENTS = 100
PAUSE_SECONDS = 0.03


async def ask(stage: Stage) -> list[Figure]:
    """Each event is for one run, by `match`."""
    await stage.open()
    await burst(stage, 0, 100)
    runs = stage.size(RUNS)
    rates = spread([await burst(stage, (n + 1) * RUNS, runs) for n in range(TIMES)])
    alone = await idle(stage, (TIMES + 1) * RUNS, stage.size(IDLE_EVENTS))
    return [
        Figure(
            what="W5: completions of a burst of 2,000 events",
            value=rates["middle"],
            unit="runs/s",
            reach=2_500,
            aim=6_000,
            details=rates,
        ),
        milliseconds("W5: idle event to the resumed run's end, p50", alone, 0.5, reach=5, aim=3),
    ]


async def wait(stage: Stage, first: int, runs: int) -> float:
    """Runs that wait, each for its event; since when they were made."""
    began = time.time()
    await send(stage, "benchmark.waiter", [{"n": n} for n in range(first, first + runs)])
    await until_status(stage.rows, "waiter", runs, since=began, statuses=("waiting",))
    return began


async def burst(stage: Stage, first: int, runs: int) -> float:
    """Completions a second, from the call that sends all events to the commit of the last run's end."""
    since = await wait(stage, first, runs)
    began = time.time()
    await send(stage, "benchmark.answer", [{"n": n, "value": after(n, 7)} for n in range(first, first + runs)])
    ended = await ended_runs(stage.rows, "waiter", runs, since=since)
    if any(run.output != after(run.data["n"], 7) for run in ended):
        raise WrongError("a run took an event that was meant for another")
    return runs / (last_commit(ended) - began)


async def idle(stage: Stage, first: int, runs: int) -> list[float]:
    since, sent = await wait(stage, first, runs), {}
    for n in range(first, first + runs):
        await asyncio.sleep(PAUSE_SECONDS)
        sent[n] = time.time()
        await stage.sender.send("benchmark.answer", {"n": n, "value": after(n, 7)})
    ended = await ended_runs(stage.rows, "waiter", runs, since=since)
    return [(run.committed - sent[run.data["n"]]) * 1_000 for run in ended]
