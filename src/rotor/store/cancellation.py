"""A run is cancelled, on somebody's word."""

from __future__ import annotations

from uuid import UUID

from rotor.engine.arrivals import Cancelled
from rotor.engine.states import RUN_ENDED
from rotor.store import audit
from rotor.store.problems import Conflict, NotFound
from rotor.store.store import Store

__all__ = ["cancel"]


async def cancel(store: Store, workspace_id: int, run_id: UUID) -> None:
    """Cancel a run: at once where nobody holds it, else as soon as its step in flight is recorded.

    Raises `NotFound` for a run that this workspace does not have, `Conflict` for one that has ended.
    """
    status = await store.database.of(workspace_id).fetchval("read_run_for_cancel", run_id)
    if status is None:
        raise NotFound(f"there is no run {run_id}")
    if status in RUN_ENDED or not await store.committer.submit(Cancelled(run_id)):
        raise Conflict(f"run {run_id} has ended already: there is nothing to cancel")
    # The committer writes runs in batches of its own: the entry follows at once.
    async with store.database.of(workspace_id).connection() as connection:
        await audit.record(connection, "run.cancelled", str(run_id))
