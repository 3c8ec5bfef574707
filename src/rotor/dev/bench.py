"""`rotor bench`: how fast Rotor is on this machine and this Postgres, in a few seconds, with every result checked.

Server and worker share this process; what is written goes to a schema of its own, which is dropped at the end.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from rotor import Context, Rotor, create_function
from rotor.errors import RotorError
from rotor.sdk.resources import NewEvent, Run
from rotor.sdk.worker import connect
from rotor.server.server import Server, ServerConfig
from rotor.store.scratch import scratch_schema

__all__ = ["Durability", "Figures", "WrongResultError", "measure"]

STEPS = 5
LONG_STEPS = 20
SINGLE_EVENTS = 20
PAUSE_SECONDS = 0.02
WARM_UP_RUNS = 20
GIVEN_UP_AFTER_SECONDS = 120
AT_ONCE = 64
"""Runs read back at the same time."""


class WrongResultError(RotorError):
    """A run did not end, or not with the result that it should: its figure counts for nothing."""


@dataclass(frozen=True, slots=True)
class Durability:
    """Whether a commit waits for the disk."""

    version: str
    fsync: str
    synchronous_commit: str

    @property
    def is_on(self) -> bool:
        return self.fsync == "on" and self.synchronous_commit != "off"


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured. Times are medians in milliseconds."""

    postgres: Durability
    query_ms: float
    """One statement to Postgres and back."""
    step_ms: float
    """One step of a run that is alone."""
    first_line_ms: float
    """From sending an event to the first line of what it starts."""
    steps_per_second: float
    """With many runs at once."""
    runs: int
    steps: int


@dataclass
class Ledger:
    """What the bodies note in memory, beside what is recorded."""

    begins: dict[int, list[float]] = field(default_factory=dict)
    ended: int = 0


def sum_of(steps: int) -> int:
    """The result of a run with so many steps."""
    return steps * (steps + 1) // 2


async def measure(dsn: str, *, runs: int) -> Figures:
    """Measure on the Postgres at `dsn`, with so many runs at once.

    Raises `WrongResultError` where a run has not the result that it should, or is not complete.
    """
    ledger = Ledger()
    async with scratch_schema(dsn) as schema, _served(dsn, schema, ledger, runs) as (server, client):
        await _run(client, ledger, range(WARM_UP_RUNS), STEPS)
        alone = WARM_UP_RUNS
        await _run(client, ledger, [alone], LONG_STEPS)
        at_once = range(alone + 1, alone + 1 + runs)
        seconds = await _run(client, ledger, at_once, STEPS)
        begins = ledger.begins[alone]
        return Figures(
            postgres=Durability(**dict((await server.store.database.fetch("read_durability"))[0])),
            query_ms=statistics.median([await _query(server) for _ in range(SINGLE_EVENTS)]),
            step_ms=statistics.median(after - before for before, after in pairwise(begins[1:])) * 1_000,
            first_line_ms=statistics.median(await _first_lines(client, ledger, at_once.stop)),
            steps_per_second=runs * STEPS / seconds,
            runs=runs,
            steps=STEPS,
        )


@asynccontextmanager
async def _served(dsn: str, schema: str, ledger: Ledger, runs: int) -> AsyncIterator[tuple[Server, Rotor]]:
    """A server and a worker in this process, and a client."""

    @create_function(id="bench", trigger={"event": "bench.asked"}, retries=0)
    async def bench(ctx: Context) -> int:
        n, steps = ctx.event.data["n"], ctx.event.data["steps"]
        begins = ledger.begins.setdefault(n, [time.time()])
        total = 0

        async def add(number: int) -> int:
            begins.append(time.time())
            return total + number

        for number in range(1, steps + 1):
            total = await ctx.step.run("add", add, number)
        ledger.ended += 1
        return total

    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = ServerConfig(database_url=dsn, schema=schema, port=listening.getsockname()[1], dev=True)
        server = Server(config, listening=listening)
        await server.start()
        worker = connect([bench], url=server.config.url, slots=min(max(runs, 100), 1_000), name="rotor bench")
        connected = asyncio.Event()
        worker.on_connected = connected.set
        working = asyncio.create_task(worker.run(), name="rotor bench worker")
        try:
            await connected.wait()
            async with Rotor(base_url=server.config.url) as client:
                yield server, client
        finally:
            worker.stop()
            await working
            await server.stop()


async def _run(client: Rotor, ledger: Ledger, numbers: Sequence[int], steps: int) -> float:
    """Start a run for each number, wait for all and check them; how long it took from the call to the last end."""
    wanted, began = ledger.ended + len(numbers), time.time()
    events = await client.send_many([NewEvent(name="bench.asked", data={"n": n, "steps": steps}) for n in numbers])
    deadline = time.monotonic() + GIVEN_UP_AFTER_SECONDS
    while ledger.ended < wanted:
        if time.monotonic() > deadline:
            raise WrongResultError(f"{wanted - ledger.ended} of {len(numbers)} runs did not end")
        await asyncio.sleep(PAUSE_SECONDS)
    runs: list[Run] = []
    for first in range(0, len(events), AT_ONCE):
        runs += await asyncio.gather(*(_ended(client, event) for event in events[first : first + AT_ONCE]))
    for run in runs:
        _check(run, steps)
    return max(run.ended_at.timestamp() for run in runs if run.ended_at is not None) - began


async def _ended(client: Rotor, event_id: str) -> Run:
    """The run that an event started: its body has ended, so its end is on record or about to be."""
    (started,) = (await client.events.get(event_id)).runs
    deadline = time.monotonic() + GIVEN_UP_AFTER_SECONDS
    while not (run := await client.runs.get(started.id)).ended:
        if time.monotonic() > deadline:
            raise WrongResultError(f"the end of run {run.id} is not on record")
        await asyncio.sleep(PAUSE_SECONDS)
    return run


def _check(run: Run, steps: int) -> None:
    """Raise `WrongResultError` unless the run, and what is recorded of it, is right."""
    recorded = [step.output for step in sorted(run.steps, key=lambda step: step.index)]
    if run.status != "completed" or run.output != sum_of(steps):
        raise WrongResultError(f"run {run.id} has {run.status} with {run.output!r} where {sum_of(steps)} is right")
    if recorded != [sum_of(number) for number in range(1, steps + 1)]:
        raise WrongResultError(f"run {run.id} has other steps on record than it took")


async def _first_lines(client: Rotor, ledger: Ledger, first: int) -> list[float]:
    """From each call to the first line of the run, one after the other."""
    found = []
    for n in range(first, first + SINGLE_EVENTS):
        sent = time.time()
        await _run(client, ledger, [n], 1)
        found.append((ledger.begins[n][0] - sent) * 1_000)
    return found


async def _query(server: Server) -> float:
    began = time.perf_counter()
    await server.store.database.fetchval("read_clock")
    return (time.perf_counter() - began) * 1_000
