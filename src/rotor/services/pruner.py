"""Forgets ended runs and events once they are old enough, a batch at a time."""

from __future__ import annotations

from rotor.services.loop import Loop
from rotor.store.retention import Retention, prune
from rotor.store.store import Store

__all__ = ["Pruner"]

EVERY = 60.0


class Pruner(Loop):
    """Prunes once a minute, and on without a pause while there is much."""

    def __init__(self, store: Store, retention: Retention) -> None:
        super().__init__("pruner", self._prune)
        self._store = store
        self._retention = retention

    async def _prune(self) -> float | None:
        pruned = await prune(self._store.database, self._retention)
        return 0 if pruned.more else EVERY
