"""Once a second, one statement: is there anything to do that no commit of this server told of?

Other servers' commits, deadlines after a restart, leases that ran out, what a dead server left: all other loops sleep
until this one or a commit of their own server wakes them, so an idle server asks the database next to nothing.
"""

from __future__ import annotations

import asyncio
from itertools import islice

from rotor import limits
from rotor.protocol.messages import CancelRun, Settled
from rotor.services.loop import Loop
from rotor.store.changes import PULSE_SECONDS
from rotor.store.database import Record
from rotor.store.holders import UNKNOWN
from rotor.store.steps import memo_of_row
from rotor.store.store import Store

__all__ = ["Pulse"]

SOONEST = 0.05
"""Something that comes due before the next beat brings it forward, to this at the nearest."""


class Pulse(Loop):
    """Wakes the loops of this server, and tells holders what other servers did to their runs."""

    def __init__(self, store: Store, *, rescuer: asyncio.Event, scheduler: asyncio.Event) -> None:
        super().__init__("pulse", self._beat)
        self._store = store
        self._rescuer = rescuer
        self._scheduler = scheduler
        self._from = 0

    async def _beat(self) -> float | None:
        pulse = await self._store.database.fetchrow("read_pulse")
        assert pulse is not None
        changes = self._store.changes
        changes.invokes = pulse["invokes"]
        for due, wake in (
            (pulse["queued"], changes.queued),
            (pulse["crons"], self._scheduler),
            (pulse["lost"] or pulse["unfinished"], self._rescuer),
        ):
            if due:
                wake.set()
        if pulse["looks"]:
            changes.look_elsewhere()
        if pulse["deadline_seconds"] is not None and pulse["deadline_seconds"] <= PULSE_SECONDS:
            changes.deadline_in(pulse["deadline_seconds"])
        await self._tell_holders()
        next_seconds = pulse["next_seconds"]
        return PULSE_SECONDS if next_seconds is None else min(max(next_seconds, SOONEST), PULSE_SECONDS)

    async def _tell_holders(self) -> None:
        """Some of the held runs at a time, so that the question stays small."""
        held = self._store.holders.held()
        if not held:
            return
        self._from %= len(held)
        part = list(islice(held, self._from, self._from + limits.BATCH))
        self._from += limits.BATCH
        rows = await self._store.database.fetch(
            "read_held_news", [run_id for _, run_id, _ in part], [told for *_, told in part]
        )
        for row in rows:
            await self._tell(row)

    async def _tell(self, row: Record) -> None:
        run_id, holders = str(row["id"]), self._store.holders
        if row["news"]:
            came_back = holders.told(row["lease_id"], row["id"]) == UNKNOWN
            news = await self._store.database.fetch("read_news", [row["id"]], [row["id"]] if came_back else [])
            settled = Settled(run_id=run_id, memo=[memo_of_row(step) for step in news], settled=row["settled"])
            holders.deliver(row["lease_id"], [settled], everything=came_back)
        if row["cancelling"]:
            holders.deliver(row["lease_id"], [CancelRun(run_id=run_id)])
