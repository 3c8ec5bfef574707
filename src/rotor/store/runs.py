"""Runs and their steps as people read them. Nothing here changes anything.

Payloads pass through as the text that was stored. A page of runs or steps ends early where its payloads grow large,
so that no answer asks for more memory than a request may.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple, TypeAlias
from uuid import UUID

import msgspec

from rotor import limits
from rotor.protocol.json import NULL, Raw
from rotor.protocol.messages import Event, RunStatus, StepOp, StepStatus
from rotor.store.database import Database, Record
from rotor.store.pages import Page, decode_cursor, encode_cursor
from rotor.store.problems import NotFound

__all__ = [
    "Failure",
    "Run",
    "RunReading",
    "RunWithSteps",
    "Step",
    "first_place",
    "get",
    "page",
    "page_of",
    "read_run",
    "read_step",
    "status",
]

PAGE_BYTES = limits.REQUEST_BYTES
STEPS_READ_AT_ONCE = 1_000

RunPlace: TypeAlias = tuple[Annotated[datetime, msgspec.Meta(tz=True)], UUID]

OF_THE_RUN: Final = "run_"
"""How the columns of `get_run_with_steps` begin that are not a step's."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The error of a run or a step: class name, message and traceback of its cause."""

    name: str
    message: str
    stack: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a run."""

    id: str
    index: int
    """0 for the first use of the id in its run, then 1, 2 ..."""
    op: StepOp
    status: StepStatus
    attempts: int
    output: Raw
    error: Failure | None
    started_at: datetime
    ended_at: datetime | None
    deadline: datetime | None
    waits_for: str | None
    """What it waits or waited for: `event:NAME`, `signal:ID`, `child`."""
    child_run_id: UUID | None
    event_id: str | None
    """The event that it took, or sent."""
    version: str | None
    """Which code made it, as its worker or app tells; null where neither told."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a function, without its steps."""

    id: UUID
    function_id: str
    status: RunStatus
    event: Event | None
    """What started it; null once its event is pruned."""
    output: Raw
    error: Failure | None
    attempt: int
    """Tries of the body that failed."""
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    cancel_requested_at: datetime | None
    parent_run_id: UUID | None
    """The run that invoked it."""
    replay_of: UUID | None
    """The run that it repeats."""


class RunWithSteps(Run, frozen=True, kw_only=True):
    """One run with its steps in the order in which they began."""

    steps: list[Step]


class RunReading(NamedTuple):
    """A run as it was read, with its first steps."""

    run: Run
    steps: list[Step]
    """In the order in which they began."""
    rest: AsyncIterator[list[Step]] | None
    """The others, read some at a time; None where there are none."""


async def get(database: Database, workspace_id: int, run_id: UUID, *, steps_before_end: bool = True) -> RunReading:
    """The run with this id. With `steps_before_end` false a run that has not ended comes without its steps.

    Raises `NotFound`.
    """
    rows = await database.of(workspace_id).fetch(
        "get_run_with_steps", run_id, steps_before_end, STEPS_READ_AT_ONCE, PAGE_BYTES
    )
    if not rows:
        raise NotFound(f"there is no run {run_id}")
    of_run = {name.removeprefix(OF_THE_RUN): value for name, value in rows[0].items() if name.startswith(OF_THE_RUN)}
    steps = [read_step(row) for row in rows if row["id"] is not None]
    rest = _steps_after(database, workspace_id, run_id, rows[-1]) if rows[-1]["followed"] else None
    return RunReading(read_run(of_run), steps, rest)


async def status(database: Database, workspace_id: int, run_id: UUID) -> RunStatus:
    """The status of the run with this id. Raises `NotFound`."""
    found: RunStatus | None = await database.of(workspace_id).fetchval("read_run_for_cancel", run_id)
    if found is None:
        raise NotFound(f"there is no run {run_id}")
    return found


async def _steps_after(database: Database, workspace_id: int, run_id: UUID, last: Record) -> AsyncIterator[list[Step]]:
    """The steps of a run that began after that of the row `last`, some at a time."""
    more = True
    while more:
        # One more than is given, to know whether more follow.
        found = await database.of(workspace_id).fetch(
            "list_steps", run_id, last["started_at"], last["id"], last["index"], STEPS_READ_AT_ONCE + 1, PAGE_BYTES
        )
        rows = found[:STEPS_READ_AT_ONCE]
        if rows:
            yield [read_step(row) for row in rows]
            last = rows[-1]
        more = bool(rows) and rows[0]["found"] > len(rows)


async def page(
    database: Database,
    workspace_id: int,
    *,
    function_id: str | None = None,
    event_id: str | None = None,
    status: RunStatus | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    cursor: str | None = None,
    items_max: int = limits.PAGE_ITEMS,
) -> Page[Run]:
    """Runs, newest first, created at or after `since` and before `until`.

    Raises `Invalid` for a cursor that is none of ours.
    """
    place = first_place(cursor, until)
    arguments = (status, since, *place, items_max + 1, PAGE_BYTES)
    own = database.of(workspace_id)
    if event_id is not None:
        rows = await own.fetch("list_runs_of_event", *arguments, event_id, function_id)
    elif function_id is not None:
        rows = await own.fetch("list_runs_of_function", *arguments, function_id)
    else:
        rows = await own.fetch("list_runs", *arguments)
    return page_of(rows, items_max)


def page_of(rows: Sequence[Record], items_max: int) -> Page[Run]:
    """The page that a statement has found, which looked for one run more than it may have."""
    items = [read_run(row) for row in rows[:items_max]]
    more = bool(rows) and rows[0]["found"] > len(items)
    return Page(items=items, next_cursor=encode_cursor((items[-1].created_at, items[-1].id)) if more else None)


def first_place(cursor: str | None, until: datetime | None) -> RunPlace | tuple[None, None]:
    """The place in the order of runs before which a page begins. Raises `Invalid` for a cursor that is none of ours.

    Cursor and time become one bound, which an index can begin at: given two, Postgres may begin at the wrong one and
    read all that lies between.
    """
    places: list[RunPlace] = [] if cursor is None else [decode_cursor(cursor, RunPlace)]
    if until is not None:
        places.append((until, UUID(int=0)))
    return min(places, default=(None, None))


def read_run(row: Record | Mapping[str, Any]) -> Run:
    """A row of `get_run` or `list_runs`, or what `get_run_with_steps` tells of the run."""
    event = None
    if row["event_name"] is not None:
        event = Event(id=row["event_id"], name=row["event_name"], data=Raw(row["event_data"]), ts=row["event_ts"])
    return Run(
        id=row["id"],
        function_id=row["function_id"],
        status=row["status"],
        event=event,
        output=_payload(row["output"]),
        error=_failure(row["error"]),
        attempt=row["attempt"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        cancel_requested_at=row["cancel_requested_at"],
        parent_run_id=row["parent_run_id"],
        replay_of=row["replay_of"],
    )


def read_step(row: Record | Mapping[str, Any]) -> Step:
    """A row of `list_steps`, `list_step_changes` or `get_run_with_steps`."""
    return Step(
        id=row["id"],
        index=row["index"],
        op=row["op"],
        status=row["status"],
        attempts=row["attempts"],
        output=_payload(row["output"]),
        error=_failure(row["error"]),
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        deadline=row["deadline"],
        waits_for=row["waits_for"],
        child_run_id=row["child_run_id"],
        event_id=row["event_id"],
        version=row["version"],
    )


def _payload(stored: bytes | None) -> Raw:
    return NULL if stored is None else Raw(stored)


def _failure(stored: bytes | None) -> Failure | None:
    return None if stored is None else msgspec.json.decode(stored, type=Failure)
