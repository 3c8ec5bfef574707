"""Events faster than workers, very many parked runs, slow workers and huge payloads: memory stays where it is.

python -m tests.crashes.soak --parked 100000 --minutes 5

It shows the memory of server and worker as it goes, and fails where the later half of a load took more than the first.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from rotor.dev.postgres import Postgres
from rotor.errors import RotorError
from rotor.sdk.resources import NewEvent
from tests.crashes.bench import Bench, Program, until

__all__ = ["MEGABYTE", "SLACK", "SLACK_OF_HUGE", "Scales", "flood", "growth", "park", "wake"]

MEGABYTE: Final = 1024 * 1024
AT_ONCE: Final = 1_000
FLOOD_SECONDS: Final = 30
SLACK: Final = 8 * MEGABYTE
"""What a half may have more than the one before."""
SLACK_OF_HUGE: Final = 64 * MEGABYTE
"""The same under huge payloads, of which some are under way at any moment."""


def memory(program: Program) -> int:
    """What a process has of the machine's memory, in bytes."""
    pages = Path(f"/proc/{program.process.pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def growth(sizes: Sequence[int]) -> int:
    """How much more the later half had at its most than the earlier half."""
    middle = len(sizes) // 2
    return max(sizes[middle:]) - max(sizes[:middle])


class Scales:
    """Weighs programs again and again, under one load and another."""

    def __init__(self, programs: dict[str, Program]) -> None:
        self.programs = programs
        self.sizes: dict[tuple[str, str], list[int]] = defaultdict(list)
        """By load and program, in bytes."""

    def weigh(self, load: str) -> str:
        """What they have now, in words."""
        for name, program in self.programs.items():
            self.sizes[load, name].append(memory(program))
        return ", ".join(f"{name} {self.sizes[load, name][-1] / MEGABYTE:.0f} MiB" for name in self.programs)

    def grown(self, load: str, slack: int) -> list[str]:
        """Who had more in the later half than it may, in words."""
        found = {name: growth(self.sizes[load, name]) for name in self.programs}
        return [
            f"the {name} had {grew / MEGABYTE:.0f} MiB more in the later half of {load}"
            for name, grew in found.items()
            if grew > slack
        ]


async def park(bench: Bench, number: int, *, parked_before: int = 0) -> None:
    """So many runs more that wait for an event each, beyond what a worker keeps in memory."""
    rotor = bench.client()
    total = parked_before + number
    for start in range(parked_before, total, AT_ONCE):
        keys = [f"p{one}" for one in range(start, min(start + AT_ONCE, total))]
        await rotor.send_many([NewEvent(name="parking", data={"key": key}) for key in keys])
    await _waiting(bench, "event", total)


async def wake(bench: Bench, number: int) -> None:
    """Send the first of them what they wait for, until they wait for something else."""
    rotor = bench.client()
    for start in range(0, number, AT_ONCE):
        keys = [f"p{one}" for one in range(start, min(start + AT_ONCE, number))]
        await rotor.send_many([NewEvent(name="news", data={"key": key}) for key in keys])
    await _waiting(bench, "signal", number)


async def _waiting(bench: Bench, step: str, number: int) -> None:
    async def all_of_them() -> bool:
        (row,) = await bench.rows("SELECT count(*) AS n FROM waits WHERE step_id = $1", step)
        return bool(row["n"] == number)

    await until(all_of_them, within_seconds=600, every_seconds=0.2, what=bench.statuses)


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


async def soak(bench: Bench, parked: int, minutes: float) -> list[str]:
    """All of it, and what was wrong."""
    scales = Scales({"server": await bench.server(), "worker": await bench.worker(slots=200)})
    began = time.monotonic()

    def show(what: str, load: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began:7.0f} s  {what}: {scales.weigh(load)}\n")
        sys.stdout.flush()

    show("nothing to do", "idleness")
    each = -(-parked // 10)
    for before in range(0, parked, each):
        await park(bench, each, parked_before=before)
        show(f"{before + each:,} runs parked", "parking")
    for part in range(1, 5):
        await wake(bench, each * part // 4)
        show(f"{each * part // 4:,} of them woken, and parked again", "waking")
    floods = max(2, round(minutes * 60 / FLOOD_SECONDS / 2))
    for _ in range(floods):
        number = await flood(bench, FLOOD_SECONDS)
        show(f"{number:,} events accepted in {FLOOD_SECONDS} s", "many events")
    for _ in range(floods):
        number = await flood(bench, FLOOD_SECONDS, payload_bytes=MEGABYTE)
        show(f"{number:,} events of 1 MiB accepted in {FLOOD_SECONDS} s", "huge events")
    sys.stdout.write(f"at its end: {await bench.statuses()}\n")
    wrong = [one for load in ("parking", "waking", "many events") for one in scales.grown(load, SLACK)]
    wrong += scales.grown("huge events", SLACK_OF_HUGE)
    return [*wrong, *(f"doctor: {finding}" for finding in await bench.findings())]


async def main(parked: int, minutes: float, folder: Path) -> int:
    """The exit code."""
    postgres = Postgres(folder / "pg", settings={"fsync": "off", "full_page_writes": "off"})
    await asyncio.to_thread(postgres.start)
    bench = Bench(postgres.dsn, "rotor", folder)
    await bench.open()
    try:
        wrong = await soak(bench, parked, minutes)
    finally:
        await bench.close()
        await asyncio.to_thread(postgres.stop)
    sys.stdout.write("\n".join([*wrong, "memory grew, or worse" if wrong else "memory is flat", ""]))
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parked", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=5)
    options = parser.parse_args()
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="rotor-soak-", ignore_cleanup_errors=True) as made:
        sys.exit(asyncio.run(main(options.parked, options.minutes, Path(made))))
