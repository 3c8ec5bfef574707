"""The same work in Restate, Absurd and DBOS, on this machine and in the same minute: how many times faster is Rotor?"""

from __future__ import annotations

import asyncio
import json
import statistics

import asyncpg

from benchmarks.harness.figures import Figure, milliseconds, spread
from benchmarks.harness.stage import Stage
from benchmarks.peers import restate
from benchmarks.peers.environments import ABSURD, DBOS, RESTATE, python_environment
from benchmarks.questions import one_run, sequential_steps

TIMES = 3
DBOS_RUNS = 500
"""A quarter of W2, which takes it long enough."""
SINGLE_RUNS = 30


async def ask(stage: Stage) -> list[Figure]:
    """W2 and W1. Their packages are installed into `.peers` at the first time, which needs pip and npm."""
    await stage.open()
    ours = await sequential_steps.repeated(stage)
    for program in reversed(stage.programs):
        await program.stop()
    sizes = {"steps": sequential_steps.STEPS, "times": TIMES, "single_steps": one_run.STEPS}
    found = {
        f"Restate {RESTATE}": await restate.measure(
            stage, runs=stage.size(sequential_steps.RUNS), single_runs=SINGLE_RUNS, **sizes
        ),
        f"Absurd {ABSURD}": await on_same_postgres(stage, "absurd", stage.size(sequential_steps.RUNS)),
        f"DBOS {DBOS}": await on_same_postgres(stage, "dbos", stage.size(DBOS_RUNS)),
    }
    figures = [figure for name, measured in found.items() for figure in of_peer(name, measured)]
    fastest = max(statistics.median(measured["rates"]) for measured in found.values())
    cheapest = min(statistics.median(measured["costs"]) for measured in found.values())
    rate = statistics.median(burst.rate for burst in ours)
    cost = statistics.median(burst.cpu_per_1000 for burst in ours)
    return [
        *figures,
        Figure(what="W2: Rotor over the fastest peer", value=rate / fastest, unit="times", reach=10),
        Figure(what="W2: CPU of the cheapest peer over Rotor's", value=cheapest / cost, unit="times"),
    ]


def of_peer(name: str, measured: dict[str, list[float]]) -> list[Figure]:
    rates, costs = spread(measured["rates"]), spread(measured["costs"])
    return [
        Figure(what=f"{name}, W2", value=rates["middle"], unit="steps/s", details=rates),
        Figure(
            what=f"{name}, W2: CPU of all processes per 1,000 steps",
            value=costs["middle"],
            unit="s",
            better="less",
            details=costs,
        ),
        milliseconds(f"{name}, W1: one run of 10 steps, p50", measured["run_ms"], 0.5),
        milliseconds(f"{name}, W1: one step, p50", measured["step_ms"], 0.5),
    ]


async def on_same_postgres(stage: Stage, peer: str, runs: int) -> dict[str, list[float]]:
    """A peer that runs in its caller's process, in a database of its own."""
    python = await python_environment(peer)
    await stage.rows.execute(f"CREATE DATABASE {peer}")
    assert stage.postgres.process is not None
    arguments = [stage.postgres.process.process_id, runs, sequential_steps.STEPS, TIMES, SINGLE_RUNS, one_run.STEPS]
    command = [str(python), "-m", f"benchmarks.peers.{peer}_app", stage.dsn.replace("/postgres?", f"/{peer}?")]
    try:
        program = stage.program(peer, [*command, *map(str, arguments)])
        await program.ends()
    finally:
        await drop_database(stage, peer)
    measured: dict[str, list[float]] = json.loads(program.said.splitlines()[-1])
    return measured


async def drop_database(stage: Stage, name: str) -> None:
    while True:
        try:
            await stage.rows.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        except asyncpg.ObjectInUseError:
            await asyncio.sleep(0.1)
        else:
            return
