"""With the machine at half of W2's rate: how long does a step take, and do the light ones starve beside the heavy?"""

from __future__ import annotations

import asyncio
import time

from benchmarks.harness.checks import check_chains, ended_runs
from benchmarks.harness.figures import Figure, milliseconds
from benchmarks.harness.load import burst, chains, last_commit, send, step_milliseconds
from benchmarks.harness.stage import Stage
from benchmarks.questions.sequential_steps import STEPS
from rotor import Rotor
from rotor.sdk.resources import NewEvent
from rotor.store.database import Database
from rotor.store.keys import Keys

SECONDS = 15
TURN_SECONDS = 0.02
HEAVY_RUNS = 5_000
LIGHT_PAUSE_SECONDS = 0.05


async def ask(stage: Stage) -> list[Figure]:
    """The rate is that of a burst on the same stage a moment before."""
    await stage.open()
    await burst(stage, 200, STEPS)
    rate = (await burst(stage, stage.size(2_000), STEPS)).rate
    steps = await at_rate(stage, rate / 2, SECONDS / 3 if stage.quick else SECONDS)
    function = await beside_heavy(stage, stage.sender)
    workspace = await beside_heavy(stage, await another_workspace(stage))
    return [
        milliseconds("a step at half of W2's rate, p99", steps, 0.99, reach=25),
        milliseconds("a light function beside a heavy one, event to first line, p99", function, 0.99),
        milliseconds("a light workspace beside a heavy one, event to first line, p99", workspace, 0.99),
    ]


async def at_rate(stage: Stage, steps_a_second: float, seconds: float) -> list[float]:
    """Start runs evenly at that rate; how long each step took in milliseconds."""
    began, sent = time.time(), 0
    data = chains(int(steps_a_second * seconds / STEPS), STEPS)
    while sent < len(data):
        due = min(len(data), int((time.time() - began) * steps_a_second / STEPS) + 1)
        if due > sent:
            await send(stage, "benchmark.chain", data[sent:due])
        sent = due
        await asyncio.sleep(TURN_SECONDS)
    ended = await ended_runs(stage.rows, "chain", len(data), since=began)
    return step_milliseconds(await check_chains(stage.rows, ended, since=began))


async def another_workspace(stage: Stage) -> Rotor:
    """A client of a workspace of its own, with a worker of its own."""
    database = await Database.connect(stage.dsn, schema=stage.schema, connections_max=1)
    made = await Keys(database).create(name="light", workspace="light")
    await database.close()
    await stage.worker(key=made.key)
    return stage.client(key=made.key)


async def beside_heavy(stage: Stage, light: Rotor) -> list[float]:
    """Send light runs one by one while many heavy ones are due; from event to first line of each, in milliseconds."""
    await light.send("benchmark.first-line", {"n": -1})
    since, runs, sent = time.time(), stage.size(HEAVY_RUNS), dict[int, float]()
    await send(stage, "benchmark.chain", chains(runs, STEPS))
    while await still_open(stage):
        sent[len(sent)] = time.time()
        await light.send_many([NewEvent(name="benchmark.first-line", data={"n": len(sent) - 1})])
        await asyncio.sleep(LIGHT_PAUSE_SECONDS)
    heavy = await ended_runs(stage.rows, "chain", runs, since=since)
    await check_chains(stage.rows, heavy, since=since)
    ended = await ended_runs(stage.rows, "first-line", len(sent), since=min(sent.values()))
    until = last_commit(heavy)
    return [(run.output - sent[run.data["n"]]) * 1_000 for run in ended if sent[run.data["n"]] < until]


async def still_open(stage: Stage) -> bool:
    found: bool = await stage.rows.fetchval(
        "SELECT EXISTS (SELECT FROM runs WHERE function_id = 'chain' AND status IN ('queued', 'running'))"
    )
    return found
