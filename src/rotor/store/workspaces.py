"""Workspaces: the walls between those who share a database."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rotor.store import audit
from rotor.store.checks import name_problem
from rotor.store.database import Connection, Database
from rotor.store.problems import Invalid, NotFound

__all__ = ["DEFAULT", "Workspace", "create", "ensure", "identify", "listed"]

DEFAULT = "default"
"""The workspace that every database has from its first migration."""


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace as people list it."""

    name: str
    created_at: datetime
    keys: int
    """How many of its API keys hold."""
    functions: int


async def listed(database: Database) -> list[Workspace]:
    """All workspaces, oldest first."""
    return [Workspace(**row) for row in await database.fetch("list_workspaces")]


async def create(database: Database, name: str) -> bool:
    """Make the workspace `name`; False where it was there. Raises `Invalid` for a name that cannot be one."""
    async with database.transaction() as connection:
        return (await _ensure(connection, name))[1]


async def identify(database: Database, name: str = DEFAULT) -> int:
    """The id of the workspace `name`. Raises `NotFound`."""
    found: int | None = None if name_problem(name) else await database.fetchval("find_workspace", name)
    if found is None:
        raise NotFound(f"there is no workspace {name[:64]!r}: `rotor keys create --workspace NAME` makes one")
    return found


async def ensure(connection: Connection, name: str) -> int:
    """The id of the workspace `name`, made where it does not exist, its row locked until the transaction ends.

    Raises `Invalid` for a name that cannot be one.
    """
    return (await _ensure(connection, name))[0]


async def _ensure(connection: Connection, name: str) -> tuple[int, bool]:
    """The workspace's id, and whether it was made now."""
    _check(name)
    made = await connection.execute("add_workspace", name) == "INSERT 0 1"
    found: int = await connection.fetchval("lock_workspace_by_name", name)
    if made:
        await audit.record(connection.of(found), "workspace.created", name)
    return found, made


def _check(name: str) -> None:
    problem = name_problem(name)
    if problem:
        raise Invalid([("workspace", problem)])
