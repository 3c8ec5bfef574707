"""Faults under load, and a verdict: `python -m tests.crashes.campaign --minutes 10 --seed 7`.

Every fault that is promised strikes at least once, in an order by chance, and again until the time is over.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

from rotor import Rotor
from rotor.errors import ApiError, RotorError
from tests.campaign import numbers
from tests.crashes.faults import FROZEN, LINKS, NO_CONNECTION, PROMISED, Fault
from tests.crashes.lab import Lab, open_lab
from tests.crashes.programs import KINDS
from tests.crashes.verdict import Sent, judge

__all__ = ["Load", "missing", "strike_at_random"]

PAUSE_SECONDS: Final = 0.12
"""Between two events of one client."""
CANCEL_EVERY: Final = 10


class Load:
    """Events of every kind, on and on, with what their runs wait for; and some are cancelled.

    They are sent within `async with`; at its end all that was sent comes to its own.
    """

    def __init__(self, lab: Lab, seed: int) -> None:
        self.sent = Sent({}, set())
        self._lab = lab
        self._random = random.Random(seed)
        self._clients = lab.clients()
        self._numbers = count(1)
        self._stopping = asyncio.Event()
        self._sending: list[asyncio.Task[None]] = []
        self._following: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> None:
        self._stopping.clear()
        self._sending = [asyncio.create_task(self._send(client)) for client in self._clients]

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stopping.set()
        if kind is not None:
            return
        await asyncio.gather(*self._sending)
        async with asyncio.timeout(60):
            while self._following:
                await asyncio.wait(self._following)
        await self._lab.bench.all_ended(60)

    async def _send(self, client: Rotor) -> None:
        while not self._stopping.is_set():
            number = next(self._numbers)
            kind = KINDS[number % len(KINDS)]
            prefix = self._random.choice("ws")
            key = f"{prefix}-{kind}-{number}"
            is_cancelled = number % CANCEL_EVERY == 0
            data = {"key": key, "seconds": self._random.choice([0.0, 0.02, 0.3]), "steps": 40 if is_cancelled else 4}
            if is_cancelled:
                kind = "chain"
            with suppress(RotorError):
                await client.send(f"{prefix}/{kind}", data, id=key)
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
        await self._again(lambda rotor: rotor.send("news", {"key": key}, id=f"news-{key}"))
        await asyncio.sleep(self._random.random())
        await self._again(lambda rotor: rotor.complete_signal(f"signal-{key}", f"for {key}"))

    async def _cancel(self, key: str) -> None:
        await asyncio.sleep(self._random.random() * 2)

        async def cancel(rotor: Rotor) -> None:
            for run in (await rotor.events.get(key)).runs:
                await rotor.runs.cancel(run.id)

        await self._again(cancel)

    async def _again(self, act: Callable[[Rotor], Awaitable[object]]) -> None:
        """Until it is acknowledged. What was done by a call whose answer was lost is refused then, or not there."""
        while True:
            try:
                await act(self._random.choice(self._clients))
            except ApiError as error:
                if error.status in (404, 409):
                    return
                await asyncio.sleep(0.1)
            except RotorError:
                await asyncio.sleep(0.1)
            else:
                return


def inject(lab: Lab, fault: Fault, chance: random.Random) -> Awaitable[None]:
    """One fault, its details by chance."""
    whom, how = fault
    which, away_seconds = chance.randrange(2), chance.uniform(0, 0.5)
    seconds, size = chance.uniform(0.2, 1.2), chance.choice([1, 10, 100, 700])
    if whom in LINKS:
        return lab.break_link(whom, how, seconds=seconds, after_bytes=size)
    if how == NO_CONNECTION:
        return lab.exhaust_connections(seconds)
    if how == FROZEN:
        freezes = {
            "server": lambda: lab.freeze_server(which),
            "worker": lambda: lab.freeze_worker(which),
            "app": lab.freeze_app,
            "Postgres": lab.freeze_postgres,
        }
        return freezes[whom]()
    number = signal.Signals[how]
    ends = {
        "server": lambda: lab.end_server(which, number, away_seconds=away_seconds),
        "worker": lambda: lab.end_worker(which, number),
        "app": lambda: lab.end_app(number),
        "Postgres": lambda: lab.restart_postgres(number, away_seconds=away_seconds),
    }
    return ends[whom]()


async def strike_at_random(lab: Lab, seed: int, faults: Iterable[Fault], *, seconds: float = 0) -> None:
    """Each of the faults, in an order by chance, those of links beside those of processes; again until the time is
    over."""
    until_time = time.monotonic() + seconds
    of_links = [fault for fault in sorted(faults) if fault[0] in LINKS]
    of_processes = [fault for fault in sorted(faults) if fault[0] not in LINKS]

    async def strike(lane: list[Fault], chance: random.Random) -> None:
        while lane:
            for fault in chance.sample(lane, len(lane)):
                await inject(lab, fault, chance)
                await asyncio.sleep(chance.uniform(0.1, 0.6))
            if time.monotonic() > until_time:
                return

    await asyncio.gather(
        strike(of_links, random.Random(seed)),
        strike(of_processes, random.Random(seed + 1)),
    )


def missing(lab: Lab) -> list[Fault]:
    """What was promised and never injected."""
    return sorted(PROMISED - set(lab.injected))


async def campaign(seed: int, seconds: float, folder: Path) -> None:
    async with open_lab(folder) as lab:
        load = Load(lab, seed)
        try:
            async with load:
                await strike_at_random(lab, seed, PROMISED, seconds=seconds)
            await judge(lab, load.sent)
            assert not missing(lab)
        finally:
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
            sys.stdout.write("\n".join([*numbers(), ""]))
