"""Runs sent and seen to their end: the loads that several questions share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from benchmarks.harness.checks import Ended, Span, check_chains, ended_runs
from benchmarks.harness.stage import Stage
from rotor.sdk.resources import NewEvent

__all__ = ["Burst", "burst", "chains", "last_commit", "send", "step_milliseconds"]

WITNESS_EVERY = 100
EVENTS_A_CALL = 5_000


@dataclass(frozen=True, slots=True)
class Burst:
    """What a burst of chains came to."""

    steps: int
    seconds: float
    used: dict[str, float]
    """CPU seconds by process tree, and in all."""
    spans: list[list[Span]]
    """The steps of each run."""

    @property
    def rate(self) -> float:
        return self.steps / self.seconds

    @property
    def cpu_per_1000(self) -> float:
        return self.used["all"] / self.steps * 1_000


async def burst(stage: Stage, runs: int, steps: int) -> Burst:
    """Start `runs` at once and wait for the last. From just before the request to the commit of the last run's end."""
    used, began = stage.usage(), time.time()
    await send(stage, "benchmark.chain", chains(runs, steps))
    ended = await ended_runs(stage.rows, "chain", runs, since=began)
    spent = stage.usage().since(used)
    seconds = last_commit(ended) - began
    return Burst(runs * steps, seconds, spent, await check_chains(stage.rows, ended, since=began))


def chains(runs: int, steps: int) -> list[dict[str, Any]]:
    """What starts so many chains; one in a hundred is a witness."""
    return [{"n": n, "steps": steps, "witness": n % WITNESS_EVERY == 0} for n in range(runs)]


async def send(stage: Stage, name: str, data: Sequence[dict[str, Any]]) -> None:
    """Send events in as few calls as may be."""
    events = [NewEvent(name=name, data=each) for each in data]
    for begin in range(0, len(events), EVENTS_A_CALL):
        await stage.sender.send_many(events[begin : begin + EVENTS_A_CALL])


def last_commit(ended: Sequence[Ended]) -> float:
    return max(run.committed for run in ended)


def step_milliseconds(spans: Sequence[Sequence[Span]]) -> list[float]:
    """From the begin of each step to the begin of the next of its run."""
    return [(after.began - before.began) * 1_000 for run in spans for before, after in pairwise(run)]
