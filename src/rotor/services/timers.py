"""Fires deadlines: sleeps that are over, waits that time out, steps whose next try is due. One loop serves them all."""

from __future__ import annotations

import asyncio

from rotor import limits
from rotor.engine.arrivals import DeadlineReached
from rotor.engine.run import StepKey
from rotor.services.loop import Loop
from rotor.store.looks import look_at_waits, oldest_delivery
from rotor.store.store import Store

__all__ = ["Timers"]

SOONEST = 0.001
"""Timers wake a little after a deadline rather than a little before it."""
AGAIN = 1.0
"""Where another server was first with all of a batch, or cannot get at them: seconds before the next look."""


class Timers(Loop):
    """Sleeps until the nearest deadline; the pulse and every commit of this server tell it of nearer ones."""

    def __init__(self, store: Store) -> None:
        super().__init__("timers", self._fire, store.changes.deadline)
        self._store = store

    async def _fire(self) -> float | None:
        changes = self._store.changes
        changes.timers_look_at = float("inf")
        waits = await self._store.database.fetch("read_due_waits", limits.BATCH)
        due = [StepKey(wait["run_id"], wait["step_id"], wait["step_index"]) for wait in waits if wait["seconds"] <= 0]
        await self._look_first([key for key, wait in zip(due, waits, strict=False) if wait["for_event"]])
        acted = await self._store.committer.submit_all([DeadlineReached(key) for key in due])
        if len(due) >= limits.BATCH:
            return 0 if any(acted) else AGAIN
        if len(due) == len(waits):
            return None
        pause = float(waits[-1]["seconds"]) + SOONEST
        changes.timers_look_at = asyncio.get_running_loop().time() + pause
        return pause

    async def _look_first(self, waits: list[StepKey]) -> None:
        """A wait takes an event that came before its deadline, though nobody has looked at the two so far."""
        if waits:
            await look_at_waits(self._store, waits, since=await oldest_delivery(self._store.database))
