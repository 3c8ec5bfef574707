"""Events faster than workers, very many parked runs, slow workers and huge payloads: memory stays where it is.

python -m tests.crashes.soak --parked 100000 --minutes 5
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from rotor.dev.postgres import Postgres
from rotor.errors import RotorError
from rotor.sdk.resources import NewEvent
from tests.crashes.bench import Bench, Program, until

__all__ = ["MEGABYTE", "flood", "memory", "park"]

MEGABYTE = 1024 * 1024
AT_ONCE = 1_000


def memory(program: Program) -> int:
    """What a process has of the machine's memory, in bytes."""
    pages = Path(f"/proc/{program.process.pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def park(bench: Bench, number: int, *, parked_before: int = 0) -> None:
    """So many runs more that wait for an event each, beyond what a worker keeps in memory."""
    rotor = bench.client()
    number += parked_before
    for start in range(parked_before, number, AT_ONCE):
        keys = [f"p{one}" for one in range(start, min(start + AT_ONCE, number))]
        await rotor.send_many([NewEvent(name="parking", data={"key": key}) for key in keys])

    async def parked() -> bool:
        (row,) = await bench.rows("SELECT count(*) AS n FROM waits")
        return bool(row["n"] == number)

    await until(parked, within_seconds=30 + number / 50, what=bench.statuses)


async def flood(bench: Bench, seconds: float, *, payload_bytes: int = 0) -> int:
    """Events, far more than the slow steps that they start can keep up with; return how many were accepted."""
    accepted = 0
    until_time = time.monotonic() + seconds

    async def send() -> None:
        nonlocal accepted
        rotor = bench.client()
        while time.monotonic() < until_time:
            each = 1 if payload_bytes else 50
            data = {"key": "flood", "steps": 3, "seconds": 0.1, "filling": "x" * payload_bytes}
            with suppress(RotorError):
                await rotor.send_many([NewEvent(name="chain", data=data)] * each)
                accepted += each

    await asyncio.gather(*(send() for _ in range(4)))
    return accepted


async def soak(parked: int, minutes: float, folder: Path) -> None:
    """Show the memory of server and worker through it all."""
    postgres = Postgres(folder / "pg", settings={"fsync": "off", "full_page_writes": "off"})
    await asyncio.to_thread(postgres.start)
    bench = Bench(postgres.dsn, "rotor", folder)
    await bench.open()
    try:
        programs = {"server": await bench.server(), "worker": await bench.worker(slots=200)}
        began = time.monotonic()

        def show(what: str) -> None:
            sizes = ", ".join(f"{name} {memory(one) // MEGABYTE} MiB" for name, one in programs.items())
            sys.stdout.write(f"{time.monotonic() - began:7.0f} s  {what}: {sizes}\n")
            sys.stdout.flush()

        show("at first")
        for before in range(0, parked, 10 * AT_ONCE):
            more = min(10 * AT_ONCE, parked - before)
            await park(bench, more, parked_before=before)
            show(f"{before + more:,} runs parked")
        for _ in range(max(1, round(minutes))):
            number = await flood(bench, 30)
            show(f"{number:,} events accepted in 30 s")
            number = await flood(bench, 30, payload_bytes=MEGABYTE)
            show(f"{number:,} events of 1 MiB accepted in 30 s")
        sys.stdout.write(f"at its end: {await bench.statuses()}\n")
    finally:
        await bench.close()
        await asyncio.to_thread(postgres.stop)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parked", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=5)
    options = parser.parse_args()
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="rotor-soak-", ignore_cleanup_errors=True) as made:
        asyncio.run(soak(options.parked, options.minutes, Path(made)))
