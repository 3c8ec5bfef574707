"""Takes up what dead servers and dead holders left: runs whose lease ran out, signals and cancellations half carried
out.
"""

from __future__ import annotations

import logging

from rotor import limits
from rotor.engine.arrivals import Cancelled, SignalArrived
from rotor.engine.run import StepKey
from rotor.services.loop import Loop
from rotor.store import leases
from rotor.store.store import Store

__all__ = ["Rescuer"]

log = logging.getLogger("rotor.services")

ORPHANS_EVERY = 10.0


class Rescuer(Loop):
    """Woken by the pulse when a lease has run out or something is half done; looks for orphans at its own pace."""

    def __init__(self, store: Store) -> None:
        super().__init__("rescuer", self._rescue)
        self._store = store

    async def _rescue(self) -> float | None:
        store = self._store
        lost = await leases.lost_runs(store.database)
        acted = await store.committer.submit_all(lost)
        if any(acted):
            log.warning("%d runs lost their worker and are given to another", sum(acted))
        await leases.delete_expired(store.database)
        rows = await store.database.fetch("read_undelivered_signals", limits.BATCH)
        await store.committer.submit_all(
            [SignalArrived(StepKey(row["run_id"], row["step_id"], row["step_index"]), row["id"]) for row in rows]
        )
        orphans = await store.database.fetch("read_orphans", limits.BATCH)
        await store.committer.submit_all([Cancelled(row["id"]) for row in orphans])
        return 0 if len(lost) == limits.BATCH else ORPHANS_EVERY
