"""Starts the runs of crons whose time has come."""

from __future__ import annotations

from rotor import limits
from rotor.services.loop import Loop
from rotor.store.schedules import fire_due
from rotor.store.store import Store

__all__ = ["Scheduler"]


class Scheduler(Loop):
    """Woken by the pulse when a cron is due."""

    def __init__(self, store: Store) -> None:
        super().__init__("scheduler", self._fire)
        self._store = store

    async def _fire(self) -> float | None:
        fired = await fire_due(self._store.database)
        if fired:
            self._store.changes.queued.set()
        return 0 if fired == limits.BATCH else None
