"""Servers die under load, with workers that come back to them."""

from __future__ import annotations

import asyncio
import contextlib
import signal

from rotor.errors import RotorError
from tests.crashes.bench import BEFORE_LEASES_END, Bench, Recorded, until


async def test_a_server_that_is_killed_under_load_loses_and_doubles_nothing(bench: Bench) -> None:
    server = await bench.server()
    await bench.worker()
    rotor = bench.client()
    sent: list[str] = []
    stop = asyncio.Event()

    async def send() -> None:
        number = 0
        while not stop.is_set():
            key = f"k{number}"
            number += 1
            with contextlib.suppress(RotorError):
                kind = ("chain", "parking")[number % 2]
                data = {"key": key, "steps": 8, "seconds": 0.02, "naps": 0.05 if number % 3 else 0}
                await rotor.send(kind, data, id=key)
                sent.append(key)
            await asyncio.sleep(0.01)

    sending = asyncio.create_task(send())
    recorded: Recorded = {}
    for _ in range(3):
        await asyncio.sleep(1.5)
        server.kill()
        recorded |= await bench.recorded()
        server = await bench.server()
    await asyncio.sleep(1)
    stop.set()
    await sending

    async def answered() -> bool:
        runs = await bench.rows("SELECT id, event_id FROM runs WHERE function_id='parking' AND status <> 'completed'")
        for row in runs:
            key = row["event_id"]
            with contextlib.suppress(RotorError):
                await rotor.send("news", {"key": key}, id="n-" + key)
                await rotor.complete_signal(f"signal-{key}", "ok")
        return not runs

    await until(answered, within_seconds=60, what=bench.statuses)
    await bench.all_ended()
    rows = await bench.rows("SELECT event_id, count(*) AS n FROM runs GROUP BY 1")
    started = {r["event_id"]: r["n"] for r in rows if not r["event_id"].startswith("n-")}
    assert set(sent) <= set(started)
    assert set(started.values()) == {1}
    after = await bench.recorded()
    assert recorded.items() <= after.items()
    assert set(await bench.statuses()) == {"completed"}
    assert [key for key in sent if len(set(bench.notes(key))) != len(bench.notes(key))] == []
    assert await bench.findings() == []


async def test_a_worker_leaves_a_server_that_does_not_answer_its_greeting(bench: Bench) -> None:
    """A frozen server's port still takes connections."""
    bench.launcher = ["tests.crashes.launch"]  # whose workers wait for a greeting no longer than necessary
    server = await bench.server()
    server.signal(signal.SIGSTOP)
    try:
        fresh = bench.program("rotor.cli", "worker", "tests.crashes.workflows")
        await fresh.says("trying again")
    finally:
        server.signal(signal.SIGCONT)
    await fresh.says("connected to")


async def test_a_server_that_is_asked_to_stop_does_so_soon_and_its_workers_keep_what_they_hold(bench: Bench) -> None:
    server = await bench.server()
    await bench.worker()
    event = await bench.client().send("gated", {"key": "g"})
    await bench.noted("g", "begin")
    server.signal(signal.SIGTERM)
    assert await server.ended(within_seconds=BEFORE_LEASES_END) == 0
    bench.open_gate("g")
    await bench.noted("g", "end")
    await bench.server()
    await bench.all_ended(BEFORE_LEASES_END)
    assert (await bench.run_of(event)).status == "completed"
    assert bench.notes("g") == ["before", "begin", "end", "after"]
    assert await bench.findings() == []


async def test_an_event_that_was_acknowledged_has_its_run_though_its_server_is_killed_at_once(bench: Bench) -> None:
    server = await bench.server()
    worker = await bench.worker()
    worker.signal(signal.SIGTERM)
    await worker.ended()
    rotor = bench.client()
    acknowledged: list[str] = []
    under_way = asyncio.Event()

    async def send(number: int) -> None:
        with contextlib.suppress(RotorError):
            while True:
                acknowledged.append(await rotor.send("chain", {"key": "x", "steps": 1}))
                if len(acknowledged) == 100:
                    under_way.set()

    sending = [asyncio.create_task(send(number)) for number in range(8)]
    await under_way.wait()
    server.kill()
    for task in sending:
        task.cancel()
    await asyncio.gather(*sending, return_exceptions=True)
    rows = await bench.rows("SELECT event_id FROM runs")
    assert set(acknowledged) <= {row["event_id"] for row in rows}
    assert len(rows) == len({row["event_id"] for row in rows})
    # At one moment, since Postgres may still carry out what the dead server has sent.
    alone = "SELECT FROM events FULL JOIN runs ON event_id = events.id WHERE events.id IS NULL OR runs.id IS NULL"
    assert not await bench.rows(alone)
    assert await bench.findings() == []
