"""Two servers on one database: what one is told reaches the runs that the other's worker holds."""

from __future__ import annotations

import time

from tests.crashes.bench import Bench, until
from tests.dev.processes import free_port


async def test_what_one_server_is_told_reaches_the_worker_of_the_other_within_two_seconds(bench: Bench) -> None:
    other = free_port()
    await bench.server()
    await bench.server(other)
    await bench.worker()
    rotor = bench.client(other)
    took: dict[str, float] = {}

    async def timed(what: str, key: str, word: str) -> None:
        began = time.monotonic()
        await bench.noted(key, word)
        took[what] = time.monotonic() - began

    run = (await rotor.events.get(await rotor.send("parking", {"key": "p"}))).runs[0]
    await timed("start", "p", "one")
    await until(lambda: waiting(bench, "event"))
    await rotor.send("news", {"key": "p"})
    await timed("event", "p", "two")
    await until(lambda: waiting(bench, "signal"))
    assert (await rotor.complete_signal("signal-p", 5)).delivered
    await timed("signal", "p", "three")
    assert (await rotor.runs.wait(run.id, timeout=10)).output == [{"key": "p"}, 5]
    held = (await rotor.events.get(await rotor.send("gated", {"key": "g"}))).runs[0]
    await bench.noted("g", "begin")
    await rotor.runs.cancel(held.id)
    bench.open_gate("g")
    began = time.monotonic()
    assert (await rotor.runs.wait(held.id, timeout=10)).status == "cancelled"
    took["cancel"] = time.monotonic() - began
    assert max(took.values()) < 2.5
    assert await bench.findings() == []


async def waiting(bench: Bench, step: str) -> bool:
    return bool(await bench.rows("SELECT FROM waits WHERE step_id = $1", step))
