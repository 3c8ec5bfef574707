"""The children of a run that was cancelled, or of a step that waits no longer, are cancelled: on down the tree."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from rotor import limits
from rotor.engine.arrivals import Arrival, Cancelled
from rotor.engine.effects import CancelChildren, CancelRun
from rotor.store.database import Database

__all__ = ["cancel_children"]

log = logging.getLogger("rotor.store")


async def cancel_children(
    database: Database,
    submit_all: Callable[[Sequence[Arrival]], Awaitable[Sequence[bool]]],
    effects: Sequence[CancelChildren | CancelRun],
) -> None:
    """Cancel them, a batch at a time. Should this fail, or this process die first, the rescuer finds the same
    children."""
    parents = [effect.run_id for effect in effects if isinstance(effect, CancelChildren)]
    try:
        await submit_all([Cancelled(effect.run_id) for effect in effects if isinstance(effect, CancelRun)])
        while parents:
            rows = await database.fetch("read_open_children", parents, limits.BATCH)
            acted = await submit_all([Cancelled(row["id"]) for row in rows])
            if len(rows) < limits.BATCH or not any(acted):
                return
    except Exception as error:
        log.warning("children of cancelled runs are left to the rescuer: %s", type(error).__name__)
