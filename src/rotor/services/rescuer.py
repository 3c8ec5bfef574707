"""Takes up what dead servers and dead holders left: runs whose lease ran out, signals and cancellations half carried
out.

While the database is away nobody can keep a lease, and all of them run out. So a rescuer that has not reached it for a
while, or has just started, first leaves the holders time to keep what is theirs: time in which the database is there.
"""

from __future__ import annotations

import asyncio
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
AWAY_SECONDS = limits.LEASE.total_seconds() / 2
"""So long without an answer of the database, and holders may have missed their time to keep their leases."""
HOLDERS_FIRST_SECONDS = limits.HEARTBEAT.total_seconds()
"""What they have then: workers connect again, and every server's keeper comes round."""


class Rescuer(Loop):
    """Woken by the pulse when a lease has run out or something is half done; looks for orphans at its own pace."""

    def __init__(self, store: Store) -> None:
        super().__init__("rescuer", self._rescue)
        self._store = store
        self._reached_at: float | None = None
        """When the database last answered, by the event loop's clock."""
        self._holders_until = 0.0

    def start(self) -> None:
        """A server that has just come up may be the one that the workers wait for."""
        self._holders_until = asyncio.get_running_loop().time() + HOLDERS_FIRST_SECONDS
        super().start()

    async def _rescue(self) -> float | None:
        store = self._store
        as_of = await store.database.fetchval("read_clock")
        may_take = self._may_take()
        if may_take:
            await leases.take_expired(store.database, as_of)
        lost = await leases.lost_runs(store.database)
        acted = await store.committer.submit_all(lost)
        if any(acted):
            log.warning("runs that lost their worker and are given to another: %d", sum(acted))
        await leases.delete_taken(store.database)
        rows = await store.database.fetch("read_undelivered_signals", limits.BATCH)
        await store.committer.submit_all(
            [SignalArrived(StepKey(row["run_id"], row["step_id"], row["step_index"]), row["id"]) for row in rows]
        )
        orphans = await store.database.fetch("read_orphans", limits.BATCH)
        await store.committer.submit_all([Cancelled(row["id"]) for row in orphans])
        if len(lost) == limits.BATCH:
            return 0
        return ORPHANS_EVERY if may_take else HOLDERS_FIRST_SECONDS / 2

    def _may_take(self) -> bool:
        """The database has just answered: whether it has done so for long enough."""
        now = asyncio.get_running_loop().time()
        if self._reached_at is not None:
            patience = AWAY_SECONDS if self._reached_at >= self._holders_until else HOLDERS_FIRST_SECONDS
            if now - self._reached_at > patience:
                self._holders_until = now + HOLDERS_FIRST_SECONDS
        self._reached_at = now
        return now >= self._holders_until
