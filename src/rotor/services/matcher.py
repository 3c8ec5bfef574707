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
from rotor.store.intake import EventRow, start_runs
from rotor.store.looks import index_events, look_at_waits, oldest_delivery, unlooked_waits, waits_for
from rotor.store.problems import Overloaded, Problem
from rotor.store.store import Store

__all__ = ["Matcher"]

log = logging.getLogger("rotor.services")

BATCHES = 20
"""Deliveries taken at a time; each is bounded by BATCH and BATCH_BYTES."""
HELD_FOR = timedelta(seconds=15)
"""How long a server may take over a batch before another takes it up."""


class CancelData(msgspec.Struct, rename="camel"):
    """The data of `rotor/cancel.run`."""

    run_id: UUID


class Matcher(Loop):
    """Looks at new events and new waits; woken by commits of this server and by the pulse."""

    def __init__(self, store: Store) -> None:
        super().__init__("matcher", self._look, store.changes.delivered)
        self._store = store

    async def _look(self) -> float | None:
        batches = await self._store.database.fetch("read_due_deliveries", BATCHES, HELD_FOR)
        if batches:
            await self._deliver(batches)
        waits = await unlooked_waits(self._store.database)
        if waits:
            await look_at_waits(self._store.database, self._store.committer, waits)
        # What came meanwhile has woken this loop again.
        return 0 if len(batches) == BATCHES or len(waits) == limits.BATCH else None

    async def _deliver(self, batches: Sequence[Record]) -> None:
        database = self._store.database
        for batch in batches:
            if batch["deferred"]:
                await self._release(batch)
        workspace_ids = [workspace_id for batch in batches for workspace_id in batch["workspace_ids"]]
        event_ids = [event_id for batch in batches for event_id in batch["event_ids"]]
        events = await database.fetch("read_events", workspace_ids, event_ids)
        for event in events:
            if event["name"] == CANCEL_RUN:
                await self._cancel(event)
        waits = await waits_for(database, await index_events(database, events))
        if waits:
            since = await oldest_delivery(database)
            for start in range(0, len(waits), limits.BATCH):
                some = waits[start : start + limits.BATCH]
                await look_at_waits(database, self._store.committer, some, since=since)
        await database.execute("delete_deliveries", [batch["id"] for batch in batches])

    async def _release(self, batch: Record) -> None:
        """A deferred event takes effect: it starts its runs, once."""
        async with self._store.database.transaction() as connection:
            rows = await connection.fetch("release_deferred_events", batch["workspace_ids"], batch["event_ids"])
            events = [
                (EventRow(row["workspace_id"], row["id"], row["name"], row["data"], row["ts"]), row["ts"])
                for row in rows
            ]
            started = await start_runs(connection, events)
        if started:
            self._store.changes.queued.set()

    async def _cancel(self, event: Record) -> None:
        try:
            data = json.decode_as(event["data"], CancelData)
            await cancel(self._store, event["workspace_id"], data.run_id)
        except Overloaded:
            raise  # the batch is taken up again
        except (PayloadError, Problem) as problem:
            log.info("event %s cancels nothing: %s", event["id"], problem)
