"""Functions and their triggers: what a workspace has registered.

Registrations of one workspace happen one after another, under the lock of the workspace's row, so that each knows for
sure what it creates and what it changes. A cron keeps its next fire when it is registered again unchanged: a deploy
skips none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

import msgspec

from rotor import limits
from rotor.engine.arrivals import Cancelled
from rotor.engine.cron import next_fire
from rotor.protocol.messages import FunctionSpec, Trigger
from rotor.store import audit
from rotor.store.checks import app_problems
from rotor.store.committer import Committer
from rotor.store.database import Database, Record, WorkspaceConnection
from rotor.store.pages import Page, decode_cursor, encode_cursor
from rotor.store.problems import Invalid, NotFound

__all__ = ["Function", "FunctionTrigger", "Registration", "delete", "get", "page", "pause", "register", "resume"]

Outcome: TypeAlias = Literal["created", "changed", "same"]
FunctionPlace: TypeAlias = tuple[Annotated[str, msgspec.Meta(pattern="^[^\\x00]+$")]]


class FunctionTrigger(msgspec.Struct, frozen=True, kw_only=True):
    """What starts a function: an event, or a cron with its next fire."""

    event: str | None = None
    match: str | None = None
    cron: str | None = None
    timezone: str | None = None
    next_at: datetime | None = None


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """A function as it is registered."""

    id: str
    serve_url: str | None
    """Where Rotor calls it; null: workers that connect serve it."""
    app: str
    version: str
    retries: int
    triggers: list[FunctionTrigger]
    paused_at: datetime | None
    created_at: datetime
    updated_at: datetime


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """What registering one function did."""

    id: str
    result: Outcome


@dataclass(frozen=True, slots=True)
class _App:
    """Who serves the functions that are registered."""

    serve_url: str | None
    name: str
    version: str


async def register(
    database: Database,
    workspace_id: int,
    functions: Sequence[FunctionSpec],
    *,
    serve_url: str | None = None,
    app: str = "",
    version: str = "",
) -> list[Registration]:
    """Create or change functions, all or none, and say what became of each, in their order.

    Raises `Invalid` that names each field at fault, as in `functions[2].triggers[0].cron`.
    """
    problems = app_problems(functions, serve_url, app, version)
    if problems:
        raise Invalid(problems)
    server = _App(serve_url, app, version)
    now: datetime = await database.fetchval("read_clock")
    async with database.of(workspace_id).transaction() as connection:
        await connection.execute("lock_workspace")
        known = await _find(connection, [function.id for function in functions])
        outcomes = {function.id: _outcome(known.get(function.id), function, server) for function in functions}
        news = [function for function in functions if outcomes[function.id] != "same"]
        if news:
            await _write(connection, news, known, server, now)
            await audit.record(connection, "function.registered", *(function.id for function in news))
    return [Registration(id=function.id, result=outcomes[function.id]) for function in functions]


async def get(database: Database, workspace_id: int, function_id: str) -> Function:
    """The function with this id. Raises `NotFound`."""
    async with database.of(workspace_id).connection() as connection:
        found = await _find(connection, [function_id])
    if function_id not in found:
        raise _unknown(function_id)
    return found[function_id]


async def page(
    database: Database, workspace_id: int, *, cursor: str | None = None, items_max: int = limits.PAGE_ITEMS
) -> Page[Function]:
    """Functions by id. Raises `Invalid` for a cursor that is none of ours."""
    (after,) = decode_cursor(cursor, FunctionPlace) if cursor is not None else ("",)
    rows = await database.of(workspace_id).fetch("list_functions", after, items_max + 1)
    items = [_function(row) for row in rows[:items_max]]
    return Page(items=items, next_cursor=encode_cursor((items[-1].id,)) if len(rows) > items_max else None)


async def pause(database: Database, workspace_id: int, function_id: str) -> Function:
    """Let no run of the function start or go on until it is resumed. Raises `NotFound`."""
    return await _set_paused(database, workspace_id, function_id, paused=True)


async def resume(database: Database, workspace_id: int, function_id: str) -> Function:
    """Let a paused function go on. Raises `NotFound`."""
    return await _set_paused(database, workspace_id, function_id, paused=False)


async def delete(database: Database, committer: Committer, workspace_id: int, function_id: str) -> None:
    """Delete the function and cancel its open runs. Raises `NotFound`.

    The runs come first, some at a time, so that a crash leaves a function that can be deleted again; those that an
    event started meanwhile come after.
    """
    await get(database, workspace_id, function_id)
    await _cancel_runs(database, committer, workspace_id, function_id)
    async with database.of(workspace_id).transaction() as connection:
        await connection.execute("lock_workspace")
        if await connection.fetchval("delete_function", function_id) is None:
            raise _unknown(function_id)
        await connection.execute("raise_revision")
        await audit.record(connection, "function.deleted", function_id)
    await _cancel_runs(database, committer, workspace_id, function_id)


async def _cancel_runs(database: Database, committer: Committer, workspace_id: int, function_id: str) -> None:
    """Ask for the cancellation of every open run, which is durable, then carry it out."""
    while True:
        asked = await database.of(workspace_id).fetch("cancel_runs_of_function", function_id, limits.BATCH)
        await committer.submit_all([Cancelled(row["id"]) for row in asked])
        if len(asked) < limits.BATCH:
            return


def _outcome(known: Function | None, function: FunctionSpec, server: _App) -> Outcome:
    if known is None:
        return "created"
    before = (known.serve_url, known.app, known.version, known.retries, [_key(trigger) for trigger in known.triggers])
    triggers = [_key(trigger) for trigger in function.triggers]
    after = (server.serve_url, server.name, server.version, function.retries, triggers)
    return "same" if before == after else "changed"


async def _write(
    connection: WorkspaceConnection,
    functions: Sequence[FunctionSpec],
    known: dict[str, Function],
    server: _App,
    now: datetime,
) -> None:
    ids = [function.id for function in functions]
    rows = [
        (function.id, position, trigger.event, trigger.match, trigger.cron, trigger.timezone, next_at)
        for function in functions
        for position, (trigger, next_at) in enumerate(_scheduled(function, known.get(function.id), now))
    ]
    retries = [function.retries for function in functions]
    await connection.execute("put_functions", ids, retries, server.serve_url, server.name, server.version)
    await connection.execute("delete_triggers", ids)
    await connection.execute("add_triggers", *zip(*rows, strict=True))
    await connection.execute("raise_revision")


def _scheduled(function: FunctionSpec, known: Function | None, now: datetime) -> list[tuple[Trigger, datetime | None]]:
    """The triggers of `function`, a cron with its next fire: the known one, or the first after `now`."""
    fires = {_key(trigger): trigger.next_at for trigger in (known.triggers if known else [])}
    return [
        (
            trigger,
            (fires.get(_key(trigger)) or next_fire(trigger.cron, trigger.timezone, now)) if trigger.cron else None,
        )
        for trigger in function.triggers
    ]


def _key(trigger: Trigger | FunctionTrigger) -> tuple[str | None, str | None, str | None, str | None]:
    return trigger.event, trigger.match, trigger.cron, trigger.timezone


async def _set_paused(database: Database, workspace_id: int, function_id: str, *, paused: bool) -> Function:
    async with database.of(workspace_id).transaction() as connection:
        if await connection.fetchval("pause_function", function_id, paused) is None:
            raise _unknown(function_id)
        await audit.record(connection, "function.paused" if paused else "function.resumed", function_id)
        return (await _find(connection, [function_id]))[function_id]


async def _find(connection: WorkspaceConnection, ids: Sequence[str]) -> dict[str, Function]:
    return {row["id"]: _function(row) for row in await connection.fetch("find_functions", ids)}


def _function(row: Record) -> Function:
    triggers = [
        FunctionTrigger(event=event, match=match, cron=cron, timezone=timezone, next_at=next_at)
        for _, event, match, cron, timezone, next_at in row["triggers"]
    ]
    return Function(**{**row, "triggers": triggers})


def _unknown(function_id: str) -> NotFound:
    return NotFound(f"there is no function {function_id[:64]!r}")
