"""How many events a second does the server take by POST, one a request over 64 connections, and in lists of 100?"""

from __future__ import annotations

import json

from benchmarks.harness.figures import Figure, WrongError, spread
from benchmarks.harness.programs import module
from benchmarks.harness.stage import Stage

CONNECTIONS = 64
ONE_A_REQUEST = (10_000, 1)
IN_LISTS = (1_000, 100)
"""Requests, and events of each."""
TIMES = 3


async def ask(stage: Stage) -> list[Figure]:
    """Each request is answered once its events are durable. Nothing is started by them."""
    await stage.server()
    return [
        await intake(stage, "event intake, one a request, 64 connections", *ONE_A_REQUEST, reach=3_000, aim=8_000),
        await intake(stage, "event intake, lists of 100", *IN_LISTS, reach=20_000, aim=60_000),
    ]


async def intake(stage: Stage, what: str, requests: int, events: int, *, reach: float, aim: float) -> Figure:
    rates, costs, shares = [], [], []
    requests = stage.size(requests)
    for _ in range(TIMES):
        there = await stored(stage)
        before = stage.usage()
        answer = await post(stage, requests, events)
        used = stage.usage().since(before)
        if await stored(stage) - there != answer["stored"] or answer["answered"] != requests * events:
            raise WrongError(f"{answer['answered']} events were answered, and others are stored")
        rates.append(answer["answered"] / answer["seconds"])
        costs.append((used["server"] + used["postgres"]) / answer["answered"] * 1_000)
        shares.append(answer["cpu"] / answer["seconds"])
    found = spread(rates)
    details = {**found, "cpu_seconds_per_1000": spread(costs), "load_generator_share_of_a_core": max(shares)}
    return Figure(what=what, value=found["middle"], unit="events/s", reach=reach, aim=aim, details=details)


async def post(stage: Stage, requests: int, events: int) -> dict[str, float]:
    arguments = (str(each) for each in (stage.port, CONNECTIONS, requests, events))
    poster = stage.program("load generator", module("benchmarks.harness.posting", *arguments))
    await poster.ends()
    stage.programs.remove(poster)
    answer: dict[str, float] = json.loads(poster.said)
    return answer


async def stored(stage: Stage) -> int:
    count: int = await stage.rows.fetchval("SELECT count(*) FROM events WHERE name = 'benchmark.intake'")
    return count
