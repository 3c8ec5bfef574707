"""Crons whose time has come start runs.

A fire and the next one's time are one transaction under the trigger's lock, so that two servers fire once. Fires missed
while no server ran are caught up by one run, for the earliest of them; a paused function's fires are skipped.
"""

from __future__ import annotations

import logging
from datetime import datetime

from uuid_utils.compat import uuid7

from rotor import limits
from rotor.engine.cron import next_fire
from rotor.errors import ConfigError
from rotor.protocol import json
from rotor.store.database import Database, Record
from rotor.store.event_rows import EventRow, insert_events
from rotor.store.intake import NewRun, insert_runs

__all__ = ["CRON_EVENT", "fire_due"]

log = logging.getLogger("rotor.store")

CRON_EVENT = "rotor/cron"
"""The name of the event that a scheduled run sees; its data has `cron`, `timezone` and `scheduled_at`."""


async def fire_due(database: Database) -> int:
    """Start the runs of up to a batch of due crons; return how many crons were due."""
    async with database.transaction() as connection:
        locked = await connection.fetch("lock_due_triggers", limits.BATCH)
        due = [(trigger, after) for trigger in locked if (after := _next(trigger)) is not None]
        if not due:
            return 0
        events = [_event(trigger) for trigger, _ in due if not trigger["paused"]]
        functions = [trigger["function_id"] for trigger, _ in due if not trigger["paused"]]
        await insert_events(connection, events)
        await insert_runs(
            connection,
            [
                NewRun(event.workspace_id, function_id, event.id)
                for event, function_id in zip(events, functions, strict=True)
            ],
        )
        await connection.execute(
            "advance_triggers",
            [trigger["workspace_id"] for trigger, _ in due],
            [trigger["function_id"] for trigger, _ in due],
            [trigger["position"] for trigger, _ in due],
            [after for _, after in due],
        )
        return len(due)


def _next(trigger: Record) -> datetime | None:
    """The next fire of a trigger; None where this server cannot tell (it lacks the time zone): another does it."""
    try:
        return next_fire(trigger["cron"], trigger["timezone"], trigger["now"])
    except ConfigError as error:
        log.error("the schedule of function %s is left alone: %s", trigger["function_id"], error)
        return None


def _event(trigger: Record) -> EventRow:
    data = {"cron": trigger["cron"], "timezone": trigger["timezone"] or "UTC", "scheduled_at": trigger["next_at"]}
    return EventRow(trigger["workspace_id"], str(uuid7()), CRON_EVENT, json.encode(data), trigger["next_at"])
