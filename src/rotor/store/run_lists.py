"""Lists of runs as people search them: newest first, page by page, at the same cost however many runs there are.

A page comes from an index that no step writes to: all runs, those of a function, those that failed, those of an event.
What else is asked for is looked up run by run, in a bounded number of runs; a page that is not full by then tells how
far back it looked, and its cursor goes on from there. So does a search for text in payloads, which stay opaque bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from rotor import limits
from rotor.protocol.messages import RunStatus
from rotor.store.database import Database
from rotor.store.pages import encode_cursor
from rotor.store.problems import Invalid
from rotor.store.runs import first_place

__all__ = ["RunFilters", "RunLine", "RunList", "latest_runs", "page"]


class RunLine(msgspec.Struct, frozen=True, kw_only=True):
    """One run in a list."""

    id: UUID
    function_id: str
    status: RunStatus
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    attempt: int = 0
    event_id: str = ""
    event_name: str | None = None
    parent_run_id: UUID | None = None
    replay_of: UUID | None = None


class RunFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs are listed: those for which all of these hold."""

    function_id: str | None = None
    status: RunStatus | None = None
    event_id: str | None = None
    event_name: str | None = None
    since: datetime | None = None
    """Created then or later."""
    until: datetime | None = None
    """Created before."""
    text: str | None = None
    """In the event's data, the output or the error; in whatever case of ASCII."""


class RunList(msgspec.Struct, frozen=True, kw_only=True):
    """Some runs, and the cursor of those before them; null: these are the last."""

    items: list[RunLine]
    next_cursor: str | None
    looked_back_to: datetime | None = None
    """Where the page is not full, and only for that many were looked at: when the last of them was created."""


async def page(
    database: Database, workspace_id: int, filters: RunFilters, *, cursor: str | None = None, items_max: int
) -> RunList:
    """Runs, newest first. Raises `Invalid` for a cursor that is none of ours."""
    place = first_place(cursor, filters.until)
    if filters.text is None:
        found, end = await _read(database, workspace_id, filters, place, items_max + 1)
        if len(found) > items_max:
            return RunList(items=found[:items_max], next_cursor=_cursor(found[items_max - 1]))
    else:
        candidates, end = await _read(database, workspace_id, filters, place, limits.RUNS_SEARCHED)
        found, looked = await _with_text(database, workspace_id, filters.text, candidates)
        if len(found) > items_max:
            return RunList(items=found[:items_max], next_cursor=_cursor(found[items_max - 1]))
        if looked < len(candidates) or len(candidates) == limits.RUNS_SEARCHED:
            end = candidates[looked - 1]
    if end is None:
        return RunList(items=found, next_cursor=None)
    return RunList(items=found, next_cursor=_cursor(end), looked_back_to=end.created_at)


async def latest_runs(
    database: Database, workspace_id: int, function_ids: Sequence[str], *, runs_max: int
) -> dict[str, list[RunLine]]:
    """The latest runs of each function, newest first."""
    found: dict[str, list[RunLine]] = {function_id: [] for function_id in function_ids}
    for row in await database.of(workspace_id).fetch("list_latest_runs", list(function_ids), runs_max):
        found[row["function_id"]].append(RunLine(**row))
    return found


async def _read(
    database: Database, workspace_id: int, filters: RunFilters, place: tuple[Any, Any], count: int
) -> tuple[list[RunLine], RunLine | None]:
    """Up to `count` runs before a place; and the last one looked at, where as many as may be were."""
    status, function_id, span = filters.status, filters.function_id, (filters.since, *place)
    if filters.event_id is not None:
        rows = await database.of(workspace_id).fetch(
            "list_run_outlines_of_event",
            status,
            filters.event_name,
            *span,
            count,
            filters.event_id,
            function_id,
        )
        return [RunLine(**row) for row in rows], None
    bounds = (filters.event_name, *span, limits.RUNS_LOOKED_AT, count)
    if status == "failed":
        rows = await database.of(workspace_id).fetch("list_failed_run_outlines", function_id, *bounds)
    elif function_id is not None:
        rows = await database.of(workspace_id).fetch("list_run_outlines_of_function", status, *bounds, function_id)
    else:
        rows = await database.of(workspace_id).fetch("list_run_outlines", status, *bounds)
    lines = [RunLine(**{name: row[name] for name in RunLine.__struct_fields__}) for row in rows]
    return (lines[:-1], lines[-1]) if rows and rows[-1]["is_end"] else (lines, None)


async def _with_text(
    database: Database, workspace_id: int, text: str, candidates: Sequence[RunLine]
) -> tuple[list[RunLine], int]:
    """Those of the runs whose payloads have the text, and how many of them were looked at."""
    if database.vault is not None:
        raise Invalid([("text", "cannot be searched for: the payloads of this server are encrypted")])
    # JSON may hold the same characters as they are or escaped.
    escaped = msgspec.json.encode(text).decode()[1:-1]
    texts = {text, escaped, _ascii(escaped)}
    ids = [run.id for run in candidates]
    rows = await database.of(workspace_id).fetch("search_run_payloads", ids, list(texts), limits.SEARCH_BYTES)
    is_found = {row["id"]: row["is_found"] for row in rows}
    return [run for run in candidates if is_found.get(run.id)], len(rows)


def _ascii(text: str) -> str:
    """As JSON writers put it that escape all but ASCII."""
    units = text.encode("utf-16-be")
    pairs = (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    return "".join(chr(unit) if unit < 128 else f"\\u{unit:04x}" for unit in pairs)


def _cursor(run: RunLine) -> str:
    return encode_cursor((run.created_at, run.id))
