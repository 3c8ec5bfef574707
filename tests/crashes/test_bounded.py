"""Memory stays where it is whatever comes in, and a server that has nothing to do asks the database next to nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rotor.dev.postgres import Postgres
from tests.crashes.bench import Bench, until
from tests.crashes.soak import MEGABYTE, SLACK, SLACK_OF_HUGE, Scales, flood, park

WAVES = 4
QUIET_SECONDS = 10
"""As long as the slowest of an idle server's loops takes from one round to the next."""


async def test_memory_stays_where_it_is_while_events_come_faster_than_workers_can_run_them(bench: Bench) -> None:
    scales = Scales({"server": await bench.server(), "worker": await bench.worker(slots=20)})
    await park(bench, 1_500)
    assert await flood(bench, 1.0) > 0
    for _ in range(WAVES):
        assert await flood(bench, 0.4) > 0
        scales.weigh("many events")
    for _ in range(WAVES):
        assert await flood(bench, 0.4, payload_bytes=MEGABYTE) > 0
        scales.weigh("huge events")
    statuses = await bench.statuses()

    assert statuses["queued"] > 200, "they were not faster"
    assert statuses["waiting"] >= 1_500
    assert [*scales.grown("many events", SLACK), *scales.grown("huge events", SLACK_OF_HUGE)] == []
    assert max(max(sizes) for sizes in scales.sizes.values()) < 400 * MEGABYTE, scales.sizes


@pytest.fixture
async def talkative(tmp_path: Path) -> AsyncIterator[tuple[Postgres, Bench]]:
    """A bench on a Postgres that writes down each statement."""
    postgres = Postgres(tmp_path / "pg", settings={"log_statement": "all"})
    await asyncio.to_thread(postgres.start)
    bench = Bench(postgres.dsn, "rotor", tmp_path)
    await bench.open()
    try:
        yield postgres, bench
    finally:
        await bench.close()
        await asyncio.to_thread(postgres.stop)


async def test_an_idle_server_sends_postgres_a_few_statements_a_second(talkative: tuple[Postgres, Bench]) -> None:
    postgres, bench = talkative
    await bench.server()
    await bench.worker()
    rotor = bench.client()
    event = await rotor.send("parking", {"key": "p"})
    (run,) = (await rotor.events.get(event)).runs

    async def parked() -> bool:
        return bool(await bench.rows("SELECT FROM waits WHERE NOT unlooked"))

    async def at_rest() -> bool:
        statements, _ = await heard(postgres, 1.2)
        return bool(statements) and all("read_pulse" in line for line in statements)

    async def chatter() -> str:
        return "\n".join(said(postgres)[-50:])

    await until(parked, within_seconds=60)
    await until(at_rest, within_seconds=60, what=chatter)
    statements, seconds = await heard(postgres, QUIET_SECONDS)

    assert any("read_pulse" in line for line in statements), "it is asleep altogether"
    assert len(statements) <= 3 * seconds, "\n".join(statements)
    assert (await rotor.runs.get(run.id)).status == "waiting"


async def heard(postgres: Postgres, seconds: float) -> tuple[list[str], float]:
    """What Postgres is told within so many seconds, and how many they were: quiet is what is measured."""
    before, began = len(said(postgres)), time.monotonic()
    await asyncio.sleep(seconds)
    return said(postgres)[before:], time.monotonic() - began


def said(postgres: Postgres) -> list[str]:
    """What Postgres was told so far."""
    lines = postgres.log.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if "LOG:  execute" in line or "LOG:  statement" in line]
