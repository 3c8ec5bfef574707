"""Postgres dies under load, and everything that was acknowledged is there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rotor.dev.postgres import Postgres
from rotor.errors import RotorError
from tests.crashes.bench import Bench, Recorded


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[tuple[Postgres, Bench]]:
    """A bench on a Postgres of its own, with every safety on."""
    postgres = Postgres(tmp_path / "pg")
    await asyncio.to_thread(postgres.start)
    bench = Bench(postgres.dsn, "rotor", tmp_path)
    await bench.open()
    try:
        yield postgres, bench
    finally:
        await bench.close()
        postgres.stop()


async def test_all_that_was_acknowledged_survives_a_crash_of_postgres(own: tuple[Postgres, Bench]) -> None:
    postgres, bench = own
    await bench.server()
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
                await rotor.send(
                    "chain", {"key": key, "steps": 6, "seconds": 0.02, "naps": 0.05 * (number % 2)}, id=key
                )
                sent.append(key)
            await asyncio.sleep(0.02)

    sending = asyncio.create_task(send())
    recorded: Recorded = {}
    for _ in range(2):
        await asyncio.sleep(1.5)
        recorded |= await bench.recorded()
        assert postgres.process is not None
        assert postgres.process.process_id is not None
        os.kill(postgres.process.process_id, signal.SIGKILL)
        await asyncio.to_thread(postgres.stop)
        await asyncio.sleep(1)
        await asyncio.to_thread(postgres.start)
    await asyncio.sleep(2)
    stop.set()
    await sending
    await bench.all_ended()
    started = {row["event_id"] for row in await bench.rows("SELECT event_id FROM runs")}
    assert set(sent) <= started
    assert recorded.items() <= (await bench.recorded()).items()
    # No process that runs bodies has died: not even a step in flight ran twice.
    assert [key for key in sent if bench.notes(key) != [str(number) for number in range(6)]] == []
    assert set(await bench.statuses()) == {"completed"}
    assert await bench.findings() == []
