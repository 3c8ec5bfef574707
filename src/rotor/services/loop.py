"""A background loop: a named task that ticks when it is woken, and never fails silently."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

__all__ = ["Loop"]

log = logging.getLogger("rotor.services")

PAUSE_AFTER_ERROR = 1.0


class Loop:
    """Calls `tick` at start, then whenever `wake` is set or the seconds that the last tick returned have passed.

    A tick that returns None waits for `wake` alone; one that returns 0 ticks again at once.
    """

    def __init__(
        self, name: str, tick: Callable[[], Awaitable[float | None]], wake: asyncio.Event | None = None
    ) -> None:
        self.name = name
        self.tick = tick
        self.wake = wake or asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"rotor {self.name}")

    async def stop(self) -> None:
        """End at once; what a tick was doing is done again by another server or at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            self.wake.clear()
            try:
                pause = await self.tick()
            except Exception:
                log.exception("%s: this round failed; the next is in %.0f s", self.name, PAUSE_AFTER_ERROR)
                pause = PAUSE_AFTER_ERROR
                await asyncio.sleep(pause)
                continue
            if pause == 0:
                await asyncio.sleep(0)
                continue
            try:
                async with asyncio.timeout(pause):
                    await self.wake.wait()
            except TimeoutError:
                continue
