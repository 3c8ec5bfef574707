"""Chains of steps sent and seen to their end: the load that several questions share."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.harness.checks import check_chains, last_commit, until_ended
from benchmarks.harness.stage import Stage, events

__all__ = ["Burst", "burst"]

WITNESS_EVERY = 100


@dataclass(frozen=True, slots=True)
class Burst:
    """What a burst of runs came to."""

    steps: int
    seconds: float
    used: dict[str, float]
    """CPU seconds by process tree, and in all."""
    begins: list[list[float]]
    """Of each run, when its steps began."""

    @property
    def rate(self) -> float:
        return self.steps / self.seconds

    @property
    def cpu_per_1000(self) -> float:
        return self.used["all"] / self.steps * 1_000


async def burst(stage: Stage, runs: int, steps: int, *, before: int = 0) -> Burst:
    """Start `runs` at once and wait for the last; `before` is how many this stage has run already.

    From just before the request to the commit of the last run's end; every run is then checked.
    """
    data = [{"n": n, "steps": steps, "witness": n % WITNESS_EVERY == 0} for n in range(before, before + runs)]
    client, events_to_send = stage.client(), events("benchmark.chain", data)
    used, began = stage.usage(), time.time()
    await client.send_many(events_to_send)
    await until_ended(stage.rows, before + runs)
    spent = stage.usage().since(used)
    seconds = await last_commit(stage.rows) - began
    return Burst(runs * steps, seconds, spent, await check_chains(stage.rows, before + runs))
