"""What do two servers on one Postgres do against one, each with a worker of its own?"""

from __future__ import annotations

import asyncio
import time

from benchmarks.harness.checks import check_chains, ended_runs
from benchmarks.harness.figures import Figure, spread
from benchmarks.harness.load import chains, last_commit
from benchmarks.harness.programs import free_port
from benchmarks.harness.stage import Stage
from benchmarks.questions.sequential_steps import RUNS, STEPS, repeated
from rotor.sdk.resources import NewEvent

TIMES = 3


async def ask(stage: Stage) -> list[Figure]:
    """The runs of W2, half sent to each. The CPU per step says what machines with a core for each process would do."""
    await stage.open()
    alone = await repeated(stage)
    port = free_port()
    await stage.server(port)
    await stage.worker(port=port)
    await both(stage, port, 200)
    together = [await both(stage, port, stage.size(RUNS)) for _ in range(TIMES)]
    steps = stage.size(RUNS) * STEPS
    rates = {"one": spread([burst.rate for burst in alone]), "two": spread([rate for rate, _ in together])}
    one = {name: sum(burst.used.get(name, 0) for burst in alone) / steps / TIMES * 1_000 for name in alone[0].used}
    two = {name: sum(used[name] for _, used in together) / steps / TIMES * 1_000 for name in together[0][1]}
    return [
        Figure(
            what="two servers against one on this machine",
            value=rates["two"]["middle"] / rates["one"]["middle"],
            unit="times",
            details=rates,
        ),
        Figure(
            what="two servers against one, on paper, with cores for all",
            value=on_paper(one, two),
            unit="times",
            reach=1.7,
            aim=1.9,
            details={"one_seconds_per_1000": one, "two_seconds_per_1000": two},
        ),
    ]


def on_paper(one: dict[str, float], two: dict[str, float]) -> float:
    """How much more two do where the busiest process, server or worker, is the limit: each has half the steps."""
    limit = max(one["server"], one["worker"])
    return limit / (max(two["server"], two["worker"]) / 2)


async def both(stage: Stage, port: int, runs: int) -> tuple[float, dict[str, float]]:
    """Steps a second and CPU seconds, with every second run sent to the other server."""
    events = [NewEvent(name="benchmark.chain", data=data) for data in chains(runs, STEPS)]
    other = stage.client(port=port)
    used, began = stage.usage(), time.time()
    await asyncio.gather(stage.sender.send_many(events[::2]), other.send_many(events[1::2]))
    ended = await ended_runs(stage.rows, "chain", runs, since=began)
    spent = stage.usage().since(used)
    await check_chains(stage.rows, ended, since=began)
    return runs * STEPS / (last_commit(ended) - began), spent
