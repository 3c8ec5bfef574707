"""A run is started anew, with the event that started it."""

from __future__ import annotations

from uuid import UUID

from rotor.store import audit
from rotor.store.intake import NewRun, insert_runs
from rotor.store.problems import Conflict, NotFound
from rotor.store.store import Store

__all__ = ["replay"]


async def replay(store: Store, workspace_id: int, run_id: UUID) -> UUID:
    """Start a new run of the same function with the same event; return its id.

    Raises `NotFound` for a run that this workspace does not have, `Conflict` where its function is no longer
    registered.
    """
    async with store.database.transaction() as connection:
        row = await connection.of(workspace_id).fetchrow("read_run_for_replay", run_id)
        if row is None:
            raise NotFound(f"there is no run {run_id}")
        if not row["registered"]:
            raise Conflict(
                f"the function {row['function_id']!r} of run {run_id} is gone: register it again, then replay"
            )
        run = NewRun(workspace_id, row["function_id"], row["event_id"], replay_of=run_id)
        await insert_runs(connection, [run])
        await audit.record(connection.of(workspace_id), "run.replayed", str(run_id))
    store.changes.queued.set()
    return run.id
