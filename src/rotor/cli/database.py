"""The database of the commands that work on it directly, with its errors in plain words.

It is `DATABASE_URL`, or where that is not set the one of a `rotor dev` that runs in this folder.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from rotor.errors import ConfigError

__all__ = [
    "DEV_FOLDER",
    "check_migrated",
    "database_at_hand",
    "database_schema",
    "database_url",
    "on_database",
    "translated",
]

T = TypeVar("T")

DEV_FOLDER = Path(".rotor")
"""Where `rotor dev` keeps its database unless told otherwise."""


def database_url() -> str:
    """`DATABASE_URL`. Raises `ConfigError` where it is not set."""
    dsn = os.environ.get("DATABASE_URL", "")
    if not dsn:
        raise ConfigError(
            "DATABASE_URL is not set: give the Postgres to work on, as postgresql://USER:PASSWORD@HOST/NAME"
        )
    return dsn


def database_at_hand() -> str:
    """`DATABASE_URL`, or the address of the database of a `rotor dev` that runs in this folder.

    Raises `ConfigError` where there is neither.
    """
    if os.environ.get("DATABASE_URL"):
        return database_url()
    dsn = _database_of_dev(DEV_FOLDER)
    if dsn is None:
        raise ConfigError(
            "DATABASE_URL is not set, and no `rotor dev` runs in this folder: go to its folder, or set DATABASE_URL to "
            "the address that it printed or to that of another Postgres (postgresql://USER:PASSWORD@HOST/NAME)"
        )
    click.echo(f"On the database of the `rotor dev` in {Path.cwd()}.", err=True)
    return dsn


def _database_of_dev(folder: Path) -> str | None:
    if os.name == "nt" or not folder.is_dir():
        return None
    from rotor.dev.postgres import Postgres

    return Postgres(folder).running_dsn()


def database_schema() -> str:
    """The schema that holds Rotor's tables: `ROTOR_SCHEMA`, or `rotor`."""
    return os.environ.get("ROTOR_SCHEMA", "rotor")


def on_database(work: Callable[..., Awaitable[T]]) -> T:
    """Run `work(database)` on a pool to a migrated schema.

    Raises `ConnectionLostError` where Postgres does not answer, `ConfigError` where migrations are missing.
    """
    from rotor.store.audit import Actor, acting
    from rotor.store.database import Database

    dsn, schema = database_at_hand(), database_schema()
    check_migrated(dsn, schema)

    async def connected() -> T:
        acting.set(Actor(f"{_user()} on the command line"))
        database = await Database.connect(dsn, schema=schema, connections_max=2)
        try:
            return await work(database)
        finally:
            await database.close()

    return translated(dsn, connected)


def _user() -> str:
    """Who runs the command, as the system knows them."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in a container
        return f"user {os.getuid()}"


def check_migrated(dsn: str, schema: str) -> None:
    """Raise `ConfigError` where migrations are missing, `ConnectionLostError` where Postgres does not answer."""
    from rotor.store.migrate import pending

    if translated(dsn, lambda: pending(dsn, schema=schema)):
        raise ConfigError(f"the schema {schema!r} lacks migrations: run `rotor migrate` first")


def translated(dsn: str, work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` on the database at `dsn` to its end; where it does not let us in, say so without the password."""
    import asyncio

    from rotor.store.readiness import reaching

    async def whole() -> T:
        return await work()

    with reaching(dsn):
        return asyncio.run(whole())
