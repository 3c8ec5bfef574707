"""Keeps the leases of holders that are alive: workers heard lately, invocations in flight. The others run out.

The leases of invocations that are over are given back together. What people see of workers is their leases; of apps
that were called, it keeps whether they answered.
"""

from __future__ import annotations

from rotor import limits
from rotor.services.invoker import Invoker
from rotor.services.loop import Loop
from rotor.services.workers import Workers
from rotor.store import leases
from rotor.store.store import Store
from rotor.store.workers import note_calls

__all__ = ["Keeper"]


class Keeper(Loop):
    """Extends leases at the pace of heartbeats; a worker whose lease ran out all the same is cut off."""

    def __init__(self, store: Store, workers: Workers, invoker: Invoker) -> None:
        super().__init__("lease keeper", self._keep)
        self._store = store
        self._workers = workers
        self._invoker = invoker

    async def _keep(self) -> float | None:
        workers = self._workers.alive()
        alive = {**workers, **dict.fromkeys(self._invoker.alive())}
        kept = await leases.extend(self._store.database, alive) if alive else set()
        self._workers.cut_off({lease_id: number for lease_id, number in workers.items() if lease_id not in kept})
        if ended := self._invoker.take_ended():
            await leases.end_invocations(self._store.database, ended)
        if calls := self._invoker.take_calls():
            await note_calls(self._store.database, calls)
        return limits.HEARTBEAT.total_seconds()
