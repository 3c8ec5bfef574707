"""Workspaces: the walls between those who share a database."""

from __future__ import annotations

from rotor.store.checks import name_problem
from rotor.store.database import Connection, Database
from rotor.store.problems import Invalid, NotFound

__all__ = ["DEFAULT", "ensure", "identify"]

DEFAULT = "default"
"""The workspace that every database has from its first migration."""


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
    problem = name_problem(name)
    if problem:
        raise Invalid([("workspace", problem)])
    await connection.execute("add_workspace", name)
    found: int = await connection.fetchval("lock_workspace_by_name", name)
    return found
