"""What runs wait for, as people see it: the signals that they may complete, and the deadlines that come next."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias
from uuid import UUID

import msgspec

from rotor.protocol.messages import StepOp, StepStatus
from rotor.store.database import Database
from rotor.store.pages import Page, decode_cursor, encode_cursor

__all__ = ["Deadline", "WaitingSignal", "next_deadlines", "signals"]

DEADLINES_LOOKED_AT = 10_000
"""Of all workspaces; it bounds what one that has few deadlines asks of the database."""

SignalPlace: TypeAlias = tuple[UUID, Annotated[str, msgspec.Meta(pattern="^[^\\x00]+$")]]


class WaitingSignal(msgspec.Struct, frozen=True, kw_only=True):
    """A signal that a run waits for."""

    id: str
    run_id: UUID
    step_id: str
    step_index: int
    deadline: datetime | None
    function_id: str
    created_at: datetime
    """When the run was created."""


class Deadline(msgspec.Struct, frozen=True, kw_only=True):
    """A step that goes on at a time, if nothing ends it before."""

    deadline: datetime
    run_id: UUID
    step_id: str
    step_index: int
    function_id: str
    op: StepOp
    status: StepStatus
    waits_for: str | None


async def signals(
    database: Database, workspace_id: int, *, cursor: str | None = None, items_max: int
) -> Page[WaitingSignal]:
    """The signals that runs wait for, those of the newest runs first.

    Raises `Invalid` for a cursor that is none of ours.
    """
    place = (None, None) if cursor is None else decode_cursor(cursor, SignalPlace)
    rows = await database.of(workspace_id).fetch("list_waiting_signals", *place, items_max + 1)
    items = [WaitingSignal(**row) for row in rows[:items_max]]
    more = len(rows) > items_max
    return Page(items=items, next_cursor=encode_cursor((items[-1].run_id, items[-1].id)) if more else None)


async def next_deadlines(database: Database, workspace_id: int, *, items_max: int) -> list[Deadline]:
    """What comes due next, soonest first."""
    rows = await database.of(workspace_id).fetch("list_next_deadlines", DEADLINES_LOOKED_AT, items_max)
    return [Deadline(**row) for row in rows]
