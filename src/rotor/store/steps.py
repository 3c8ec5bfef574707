"""Steps as rows: read for the holder of a run, or for people."""

from __future__ import annotations

from rotor.engine.decision import payload
from rotor.protocol import json
from rotor.protocol.messages import Error, Memo
from rotor.store.database import Record

__all__ = ["memo_of_row"]


def memo_of_row(row: Record) -> Memo:
    """A step's row as its holder is told of it."""
    return Memo(
        id=row["id"],
        index=row["index"],
        op=row["op"],
        status=row["status"],
        attempts=row["attempts"],
        output=payload(row["output"]),
        error=json.decode_as(row["error"], Error) if row["error"] is not None else None,
        child_run_id=str(row["child_run_id"]) if row["child_run_id"] else None,
        group=row["settled_group"],
    )
