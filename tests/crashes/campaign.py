"""Random faults under load, and a verdict: `python -m tests.crashes.campaign --minutes 10 --seed 7`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from rotor.errors import ApiError, RotorError
from tests.campaign import totals
from tests.crashes.lab import LINKS, Lab, open_lab
from tests.crashes.launch import LEASE_SECONDS
from tests.crashes.programs import KINDS
from tests.crashes.verdict import Sent, judge

__all__ = ["LINK_FAULTS", "LONG_SECONDS", "Load", "settle", "strike_at_random"]

LONG_SECONDS: Final = LEASE_SECONDS + 1.5
"""A holder that is frozen for so long has lost its runs."""
PAUSE_SECONDS: Final = 0.06
"""Between two events."""
CANCEL_EVERY: Final = 10
LINK_FAULTS: Final = (
    "broken", "broken for one end", "half closed", "half a request", "half an answer", "slow", "silent"
)  # fmt: skip


class Load:
    """Events of every kind, on and on, with what their runs wait for; and some are cancelled."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.sent = Sent({}, set())
        self._lab = lab
        self._random = random.Random(seed)
        self._rotor = lab.client()
        self._stopping = asyncio.Event()
        self._following: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Send no more, and return once all that was sent has got what it waits for."""
        self._stopping.set()
        await self._task
        async with asyncio.timeout(60):
            while self._following:
                await asyncio.wait(self._following)

    async def _run(self) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            kind = KINDS[number % len(KINDS)]
            prefix = self._random.choice("ws")
            key = f"{prefix}-{kind}-{number}"
            is_cancelled = number % CANCEL_EVERY == 0
            data = {"key": key, "seconds": self._random.choice([0.0, 0.02, 0.3]), "steps": 40 if is_cancelled else 4}
            if is_cancelled:
                kind = "chain"
            with suppress(RotorError):
                await self._rotor.send(f"{prefix}/{kind}", data, id=key)
                self.sent.events[key] = kind
            if kind == "waiting":
                self._follow(self._feed(key))
            elif is_cancelled:
                self.sent.cancelled.add(key)
                self._follow(self._cancel(key))
            await asyncio.sleep(PAUSE_SECONDS)

    def _follow(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def _feed(self, key: str) -> None:
        """What the run waits for comes too early, in time or late."""
        await asyncio.sleep(self._random.random())
        await self._again(lambda: self._rotor.send("news", {"key": key}, id=f"news-{key}"))
        await asyncio.sleep(self._random.random())
        await self._again(lambda: self._rotor.complete_signal(f"signal-{key}", f"for {key}"))

    async def _cancel(self, key: str) -> None:
        await asyncio.sleep(self._random.random() * 2)

        async def cancel() -> None:
            for run in (await self._rotor.events.get(key)).runs:
                await self._rotor.runs.cancel(run.id)

        await self._again(cancel)

    async def _again(self, act: Callable[[], Awaitable[object]]) -> None:
        """Until it is acknowledged. What was done by a call whose answer was lost is refused then, or not there."""
        while True:
            try:
                await act()
            except ApiError as error:
                if error.status in (404, 409):
                    return
                await asyncio.sleep(0.1)
            except RotorError:
                await asyncio.sleep(0.1)
            else:
                return


def random_faults(lab: Lab, chance: random.Random, *, long: float) -> list[Callable[[], Awaitable[None]]]:
    """One fault of each sort, its details by chance, in an order by chance. `long` is how long freezes may last."""
    kill, stop = signal.SIGKILL, signal.SIGTERM
    which, how = chance.randrange(2), chance.choice([kill, stop])
    away = chance.uniform(0, 0.5)
    faults: list[Callable[[], Awaitable[None]]] = [
        lambda: lab.end_server(which, kill, away_seconds=away),
        lambda: lab.end_server(1 - which, stop, away_seconds=away),
        lambda: lab.freeze_server(which, chance.choice([1.0, long])),
        lambda: lab.end_worker(which, kill),
        lambda: lab.end_worker(1 - which, stop),
        lambda: lab.freeze(lab.workers[which], f"worker {which}", long),
        lambda: lab.end_app(kill),
        lambda: lab.end_app(how),
        lambda: lab.freeze(lab.app, "app", chance.choice([1.0, long])),
        lambda: lab.restart_postgres(signal.SIGINT, away_seconds=away),
        lambda: lab.restart_postgres(chance.choice([signal.SIGQUIT, kill]), away_seconds=away),
        lambda: lab.freeze_postgres(chance.choice([1.0, long])),
        lambda: lab.exhaust_connections(1.5),
    ]
    for link in LINKS:
        for way in chance.sample(LINK_FAULTS, 2):
            seconds, size = chance.uniform(0.2, 1.2), chance.choice([0, 10, 100, 700])
            faults.append(_breaking(lab, link, way, seconds, size))
    chance.shuffle(faults)
    return faults


def _breaking(lab: Lab, link: str, way: str, seconds: float, size: int) -> Callable[[], Awaitable[None]]:
    return lambda: lab.break_link(link, way, seconds=seconds, after_bytes=size)


async def strike_at_random(lab: Lab, seed: int, *, seconds: float, freeze_seconds: float = LONG_SECONDS) -> None:
    """Faults one after the other until the time is over; then all is healed."""
    chance = random.Random(seed)
    until_time = time.monotonic() + seconds
    while time.monotonic() < until_time:
        for fault in random_faults(lab, chance, long=freeze_seconds):
            await fault()
            await asyncio.sleep(chance.uniform(0.1, 0.6))
            if time.monotonic() > until_time:
                break


async def settle(lab: Lab, load: Load) -> None:
    """All that was sent comes to its end."""
    await load.stop()
    await lab.bench.all_ended(60)


async def campaign(seed: int, seconds: float, folder: Path) -> None:
    async with open_lab(folder) as lab:
        load = Load(lab, seed)
        await strike_at_random(lab, seed, seconds=seconds)
        await settle(lab, load)
        await judge(lab, load.sent)
        assert lab.faults > 0
        sys.stdout.write("\n".join([*lab.story, ""]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    sys.stdout.write(f"seed {options.seed}\n")
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="rotor-campaign-", ignore_cleanup_errors=True) as made:
        try:
            asyncio.run(campaign(options.seed, options.minutes * 60, Path(made)))
        finally:
            for name, number in totals.items():
                sys.stdout.write(f"{number:>10,} {name}\n")
