"""Runs and steps as the dashboard draws them: without their payloads, or with the beginnings alone.

What is drawn again at each change must cost the same however large the payloads are.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from rotor.protocol.messages import RunStatus, StepOp, StepStatus
from rotor.store.database import Database, Record
from rotor.store.problems import NotFound
from rotor.store.runs import Failure

__all__ = ["Beginning", "RunOutline", "StepOutline", "get_run", "get_step", "steps"]

ERROR_BYTES = 4 * 1024 * 1024


class Beginning(msgspec.Struct, frozen=True):
    """The first bytes of a payload, and how many it has in all."""

    head: bytes
    bytes_total: int

    @property
    def is_whole(self) -> bool:
        return len(self.head) == self.bytes_total


class RunOutline(msgspec.Struct, frozen=True, kw_only=True):
    """One run, and what it depends on to move."""

    id: UUID
    function_id: str
    status: RunStatus
    attempt: int
    error: Failure | None
    output: Beginning | None
    event_id: str
    event_name: str | None
    event_ts: datetime | None
    event_data: Beginning | None
    """None once the event is pruned."""
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    cancel_requested_at: datetime | None
    due_at: datetime | None
    parent_run_id: UUID | None
    replay_of: UUID | None
    registered: bool
    """Its function is still there."""
    paused_at: datetime | None
    """Since when its function is paused."""
    serve_url: str | None
    holder: str | None
    holder_kind: str | None
    has_workers: bool
    """Some worker of the workspace is connected."""
    now: datetime
    """When this was read, by the database's clock."""


class StepOutline(msgspec.Struct, frozen=True, kw_only=True):
    """One step."""

    id: str
    index: int
    op: StepOp
    status: StepStatus
    attempts: int
    output: Beginning | None
    error: Failure | None
    child_run_id: UUID | None
    event_id: str | None
    waits_for: str | None
    version: str | None
    """Which code made it."""
    deadline: datetime | None
    started_at: datetime
    ended_at: datetime | None
    equals: bytes | None
    """While it waits for an event: path to value, as JSON."""
    expression: str | None
    """While it waits for an event: the CEL that must hold as well."""

    @property
    def title(self) -> str:
        """Its id, and from the second use on which use it is."""
        return f"{self.id} #{self.index + 1}" if self.index else self.id


async def get_run(database: Database, workspace_id: int, run_id: UUID, *, payload_bytes: int) -> RunOutline:
    """The run with this id. Raises `NotFound`."""
    row = await database.of(workspace_id).fetchrow("get_run_outline", run_id, payload_bytes)
    if row is None:
        raise NotFound(f"there is no run {run_id}")
    values = dict(row)
    return RunOutline(
        output=_beginning(values.pop("output_head"), values.pop("output_bytes"), payload_bytes),
        event_data=_beginning(values.pop("event_head"), values.pop("event_bytes"), payload_bytes),
        error=_failure(values.pop("error")),
        **values,
    )


async def steps(
    database: Database, workspace_id: int, run_id: UUID, *, steps_max: int, payload_bytes: int
) -> list[StepOutline]:
    """The latest steps of a run in the order in which they began; none for an unknown run."""
    rows = await database.of(workspace_id).fetch("list_step_outlines", run_id, steps_max, payload_bytes, ERROR_BYTES)
    return [_step(row, payload_bytes) for row in rows]


async def get_step(
    database: Database, workspace_id: int, run_id: UUID, step_id: str, index: int, *, payload_bytes: int
) -> StepOutline:
    """One step of a run. Raises `NotFound`."""
    row = await database.of(workspace_id).fetchrow("get_step_outline", run_id, step_id, index, payload_bytes)
    if row is None:
        raise NotFound(f"run {run_id} has no step {step_id[:64]!r} with index {index}")
    return _step(row, payload_bytes)


def _step(row: Record, payload_bytes: int) -> StepOutline:
    values = dict(row)
    expression: bytes | None = values.pop("expression")
    return StepOutline(
        output=_beginning(values.pop("output_head"), values.pop("output_bytes"), payload_bytes),
        error=_failure(values.pop("error")),
        expression=None if expression is None else expression.decode(),
        **values,
    )


def _beginning(head: bytes | None, bytes_total: int | None, bytes_max: int) -> Beginning | None:
    """A sealed payload comes whole, and is cut here."""
    return None if head is None or bytes_total is None else Beginning(head[:bytes_max], bytes_total)


def _failure(stored: bytes | None) -> Failure | None:
    return None if stored is None else msgspec.json.decode(stored, type=Failure)
