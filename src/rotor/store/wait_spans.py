"""A span for each wait that has ended, drawn by the server that settled it.

No span can be open while nobody holds the run, which may be for days. So it is made at the end, from the times that the
database has of both.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from rotor import tracing
from rotor.engine.effects import PutStep
from rotor.engine.run import StepKey
from rotor.engine.states import STEP_ENDED
from rotor.store.database import Database

__all__ = ["ended_waits", "trace_waits"]

log = logging.getLogger("rotor.store")

WAITS = frozenset({"sleep", "wait_for_event", "wait_for_signal", "invoke"})


def ended_waits(steps: Iterable[PutStep]) -> list[StepKey]:
    """Those of a batch's steps that are waits which it has settled, where anybody wants to know."""
    return [put.key for put in steps if put.op in WAITS and put.status in STEP_ENDED] if tracing.active() else []


async def trace_waits(database: Database, keys: Sequence[StepKey], group: int) -> None:
    """Make the spans of waits that commit number `group` has settled. What fails costs a gap in the trace alone."""
    ids, steps, indexes = [key.run_id for key in keys], [key.id for key in keys], [key.index for key in keys]
    try:
        rows = await database.fetch("read_ended_waits", ids, steps, indexes, group)
    except Exception as error:
        log.warning("%d waits are missing in traces: %s", len(keys), type(error).__name__)
        return
    for row in rows:
        about = {
            "run_id": str(row["run_id"]),
            "function_id": row["function_id"],
            "event_id": row["event_id"],
            "step_id": row["id"],
            "step_index": row["index"],
            "op": row["op"],
            "status": row["status"],
        }
        tracing.past(f"wait {row['id']}", row["traceparent"], about, row["started_at"], row["ended_at"])
