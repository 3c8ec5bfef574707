"""Signals are completed: the data is kept at once, and delivered to the step that waits for it, now or later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from rotor import limits
from rotor.engine.arrivals import SignalArrived
from rotor.engine.run import StepKey
from rotor.store import audit
from rotor.store.database import Record
from rotor.store.problems import Conflict, Overloaded
from rotor.store.store import Store

__all__ = ["Completion", "complete", "deliver"]


@dataclass(frozen=True, slots=True)
class Completion:
    """`delivered` to the run that waited; or kept, with `run_id` None, for a wait to find."""

    run_id: UUID | None
    delivered: bool


async def complete(
    store: Store, workspace_id: int, signal_id: str, data: bytes, *, kept_for: timedelta = limits.SIGNAL_KEPT
) -> Completion:
    """Complete a signal with `data` (JSON). Raises `Conflict` where it has been completed before.

    The data is durable before it is delivered; should this server die between the two, or have too much to write, the
    rescuer delivers it.
    """
    async with store.database.of(workspace_id).transaction() as connection:
        row = await connection.fetchrow("complete_signal", signal_id, connection.sealed(data), kept_for)
        if row is not None:
            await audit.record(connection, "signal.completed", signal_id)
    return await deliver(store, workspace_id, signal_id, row)


async def deliver(store: Store, workspace_id: int, signal_id: str, row: Record | None) -> Completion:
    """Deliver a signal's data, which is durable, to the step that waits for it: the row of `complete_signal` tells
    which. Raises `Conflict` where there is no row, since the signal had been completed before."""
    if row is None:
        raise Conflict(f"signal {signal_id!r} has been completed already: a signal is delivered once")
    if row["run_id"] is None:
        return Completion(None, delivered=False)
    waiter = StepKey(row["run_id"], row["step_id"], row["step_index"])
    try:
        delivered = await store.committer.submit(SignalArrived(waiter, signal_id))
    except Overloaded:
        return Completion(waiter.run_id, delivered=True)
    if not delivered:  # a timer was first and delivered it, or the wait was given up meanwhile and the data is kept
        delivered = await store.database.of(workspace_id).fetchval("read_signal_delivery", signal_id) is True
    return Completion(waiter.run_id if delivered else None, delivered)
