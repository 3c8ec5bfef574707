"""Events about to be written: as rows, and as their workflows see them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from rotor.protocol import json
from rotor.protocol.json import Raw
from rotor.protocol.messages import Event
from rotor.store.database import Connection, Record

__all__ = ["EventRow", "as_seen", "event_columns", "insert_events"]


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """An event about to be written."""

    workspace_id: int
    id: str
    name: str
    data: bytes
    ts: datetime | None = None
    traceparent: str | None = None

    def view(self, ts: datetime | None = None) -> dict[str, Any]:
        """As conditions look at it; `ts` may be left out where none of them asks for it."""
        return {"id": self.id, "name": self.name, "data": json.decode(self.data), "ts": ts}


def as_seen(event: EventRow, ts: datetime) -> Event:
    """An event as its runs see it, and as it would be read back."""
    return Event(id=event.id, name=event.name, data=Raw(event.data), ts=ts.astimezone(UTC))


def event_columns(connection: Connection, events: Sequence[EventRow]) -> tuple[Sequence[object], ...]:
    """Workspaces as texts: the driver takes three times as long over a number in a list."""
    return (
        [str(event.workspace_id) for event in events],
        [event.id for event in events],
        [event.name for event in events],
        connection.sealed((event.workspace_id for event in events), [event.data for event in events]),
        [event.ts for event in events],
        [event.traceparent for event in events],
    )


async def insert_events(connection: Connection, events: Sequence[EventRow]) -> list[Record]:
    """Write `events` alone; return the rows that are new."""
    return await connection.fetch("insert_events", *event_columns(connection, events))
