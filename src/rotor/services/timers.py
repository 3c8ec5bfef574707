"""Fires deadlines: sleeps that are over, waits that time out, steps whose next try is due. One loop serves them all."""

from __future__ import annotations

from rotor import limits
from rotor.engine.arrivals import DeadlineReached
from rotor.engine.run import StepKey
from rotor.services.loop import Loop
from rotor.store.store import Store

__all__ = ["Timers"]

SOONEST = 0.001
"""Timers wake a little after a deadline rather than a little before it."""


class Timers(Loop):
    """Sleeps until the nearest deadline; the pulse and every commit of this server tell it of nearer ones."""

    def __init__(self, store: Store) -> None:
        super().__init__("timers", self._fire, store.changes.deadline)
        self._store = store

    async def _fire(self) -> float | None:
        self._store.changes.deadline_seconds = float("inf")
        waits = await self._store.database.fetch("read_due_waits", limits.BATCH)
        due = [StepKey(wait["run_id"], wait["step_id"], wait["step_index"]) for wait in waits if wait["seconds"] <= 0]
        await self._store.committer.submit_all([DeadlineReached(key) for key in due])
        if len(due) < len(waits):
            return max(float(waits[len(due)]["seconds"]), 0) + SOONEST
        return 0 if due else None
