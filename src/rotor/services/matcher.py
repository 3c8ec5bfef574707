"""Lets events and waits find each other, and carries out the events that cancel runs (`store/looks.py` tells the
theory).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec

from rotor import limits
from rotor.errors import PayloadError
from rotor.protocol import json
from rotor.services.loop import Loop
from rotor.store.cancellation import cancel
from rotor.store.checks import CANCEL_RUN
from rotor.store.database import Record
from rotor.store.fresh import EffectiveEvent, agree, merged
from rotor.store.looks import events_read_back, look_at_events, look_at_fresh_waits, look_at_waits, unlooked_waits
from rotor.store.problems import Overloaded, Problem
from rotor.store.store import Store

__all__ = ["Matcher"]

log = logging.getLogger("rotor.services")

BATCHES = 20
"""Deliveries read back at a time; each is bounded by BATCH and BATCH_BYTES."""
RETAKEN_AFTER = timedelta(seconds=15)
"""How long a server may take over deliveries that it has read back before another takes them up."""
DELETED_AT_ONCE = 20
"""Deliveries that have been looked at go together: as many, or what there is when nothing has come for `LINGER`."""
LINGER = 0.05
"""In seconds. It keeps the deletion out of the way of what an event has set off."""


class CancelData(msgspec.Struct, rename="camel"):
    """The data of `rotor/cancel.run`."""

    run_id: UUID


class Matcher(Loop):
    """Looks at new events and new waits; woken by commits of this server and by the pulse."""

    def __init__(self, store: Store) -> None:
        super().__init__("matcher", self._look, store.changes.delivered)
        self._store = store

    async def _look(self) -> float | None:
        fresh = self._store.changes.fresh
        deliveries = fresh.take()
        if deliveries:
            if not agree(fresh.revisions, merged(deliveries)):
                await self._delete()
            events = [event for delivery in deliveries for event in delivery.events]
            ids = [number for delivery in deliveries for number in delivery.ids]
            await self._deliver(events, ids)
            fresh.looked_at(deliveries)
        waits = fresh.take_waits()
        if waits:
            await look_at_fresh_waits(self._store, waits)
        if fresh.elsewhere:
            fresh.elsewhere = False
            if await self._look_elsewhere():
                fresh.elsewhere = True
        if len(fresh.looked) >= DELETED_AT_ONCE or not deliveries:
            await self._delete()
        if fresh or fresh.elsewhere:
            return 0
        return LINGER if fresh.looked else None

    async def _look_elsewhere(self) -> bool:
        """Look at what has to be read back; whether there may be more of it."""
        database = self._store.database
        batches = await database.fetch("read_due_deliveries", BATCHES, RETAKEN_AFTER)
        if batches:
            await self._read_back(batches)
        waits = await unlooked_waits(database)
        if waits:
            await look_at_waits(self._store, waits)
        return len(batches) == BATCHES or len(waits) == limits.BATCH

    async def _read_back(self, batches: Sequence[Record]) -> None:
        for batch in batches:
            if batch["deferred"]:
                await self._release(batch)
        workspace_ids = [workspace_id for batch in batches for workspace_id in batch["workspace_ids"]]
        event_ids = [event_id for batch in batches for event_id in batch["event_ids"]]
        rows = await self._store.database.fetch("read_events", workspace_ids, event_ids)
        ids = [batch["id"] for batch in batches]
        await self._deliver(await events_read_back(self._store, rows), ids)
        # What was known of the waits was read after these had taken effect: nothing that changed since concerns them.
        await self._store.database.fetchval("delete_deliveries", ids, [], [])

    async def _deliver(self, events: Sequence[EffectiveEvent], deliveries: Sequence[int]) -> None:
        for event in events:
            if event.name == CANCEL_RUN:
                await self._cancel(event)
        await look_at_events(self._store, events, [*self._store.changes.fresh.looked, *deliveries])

    async def _delete(self) -> None:
        """Done with them, unless what was known of the waits has changed before: then they are looked at again."""
        fresh = self._store.changes.fresh
        if not fresh.looked:
            return
        known = list(fresh.revisions), list(fresh.revisions.values())
        try:
            changed = await self._store.database.fetchval("delete_deliveries", fresh.looked, *known)
        finally:
            fresh.deleted()
        if changed:
            self._store.changes.look_elsewhere()

    async def _release(self, batch: Record) -> None:
        """A deferred event takes effect: it starts its runs, once."""
        async with self._store.database.transaction() as connection:
            started = await self._store.intake.release(connection, batch["workspace_ids"], batch["event_ids"])
        if started:
            self._store.changes.queued.set()

    async def _cancel(self, event: EffectiveEvent) -> None:
        try:
            data = json.decode_as(event.data, CancelData)
            await cancel(self._store, event.workspace_id, data.run_id)
        except Overloaded:
            raise  # the batch is taken up again
        except (PayloadError, Problem) as problem:
            log.info("event %s cancels nothing: %s", event.id, problem)
