"""A sleep is cut short: for people who develop a workflow and do not want to wait for it."""

from __future__ import annotations

from uuid import UUID

from rotor.store.problems import Conflict
from rotor.store.runs import status
from rotor.store.store import Store

__all__ = ["wake"]


async def wake(store: Store, workspace_id: int, run_id: UUID, step_id: str, index: int) -> None:
    """Make a sleep, or the next try of a step, due now; the timers then end it as at any deadline.

    Raises `NotFound` for an unknown run, `Conflict` where the step neither sleeps nor waits for its next try.
    """
    await status(store.database, workspace_id, run_id)
    hastened = await store.database.of(workspace_id).fetchval("hasten_wait", run_id, step_id, index)
    if hastened is None:
        raise Conflict(f"step {step_id!r} of run {run_id} neither sleeps nor waits for its next try")
    store.changes.deadline.set()
