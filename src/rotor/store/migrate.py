"""Apply the numbered migrations, each once, each in its own transaction.

Several servers may start at once: the row lock of the ledger lets one of them through at a time. Older servers go on
meanwhile, and may start again: the ledger says from which version on the schema can be served.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files
from typing import Final

import asyncpg

from rotor.errors import ConfigError

__all__ = ["migrate", "pending"]

COMPATIBLE_FROM: Final = 1
"""The newest migration of the oldest version that can serve the schema as this one leaves it: that of the release
before this one. Raise it with a release, never within one.
"""
PREPARE_TRIES = 5
ALREADY_THERE = (
    asyncpg.UniqueViolationError,
    asyncpg.DuplicateTableError,
    asyncpg.DuplicateObjectError,
    asyncpg.DuplicateSchemaError,
)


def migrations() -> list[tuple[int, str, str]]:
    """(number, name, text) of every migration, in order."""
    folder = files("rotor.store").joinpath("migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [
        (int(name[:4]), name.removesuffix(".sql"), folder.joinpath(name).read_text(encoding="utf-8")) for name in names
    ]


async def migrate(dsn: str, *, schema: str = "rotor") -> list[str]:
    """Bring `schema` up to date and return the names of what was applied.

    A schema that is newer is left as it is. Raises `ConfigError` where this code cannot serve it any more.
    """
    connection = await asyncpg.connect(dsn, server_settings={"application_name": "rotor migrate"})
    try:
        await _prepare(connection, schema)
        applied: list[str] = []
        for number, name, text in migrations():
            async with connection.transaction():
                done = await connection.fetchrow("SELECT applied, compatible_from FROM migrations FOR UPDATE")
                assert done is not None
                if problem := incompatibility(**done):
                    raise ConfigError(problem)
                if number not in done["applied"]:
                    await connection.execute(text)
                    await connection.execute(
                        "UPDATE migrations SET applied = applied || $1::int, compatible_from = $2",
                        number,
                        COMPATIBLE_FROM,
                    )
                    applied.append(name)
        return applied
    finally:
        await connection.close()


async def pending(dsn: str, *, schema: str = "rotor") -> list[str]:
    """The names of the migrations that `schema` still lacks.

    Raises `ConfigError` where it is so much newer that this code cannot serve it any more.
    """
    connection = await asyncpg.connect(dsn, server_settings={"application_name": "rotor migrate"})
    try:
        known = await connection.fetchval("SELECT to_regclass($1)", f'"{_checked(schema)}".migrations')
        if not known:
            return [name for _, name, _ in migrations()]
        done = await connection.fetchrow(f'SELECT applied, compatible_from FROM "{schema}".migrations')  # noqa: S608 - checked  # nosec B608
        assert done is not None
        if problem := incompatibility(**done):
            raise ConfigError(problem)
        return missing(done["applied"])
    finally:
        await connection.close()


def missing(applied: Iterable[int]) -> list[str]:
    """The names of the migrations that are not among those `applied`."""
    done = set(applied)
    return [name for number, name, _ in migrations() if number not in done]


def incompatibility(applied: Iterable[int], compatible_from: int) -> str | None:
    """What is wrong with this code for a schema that is newer; None: it can serve it."""
    if compatible_from <= max(number for number, _, _ in migrations()):
        return None
    return (
        f"the database has migration {max(applied)}, and can be served by no rotorsh that lacks migration "
        f"{compatible_from}, as this one does: install a newer one"
    )


async def _prepare(connection: asyncpg.Connection, schema: str) -> None:
    """Make the schema and its ledger, a single row; two who do so at once end with one."""
    quoted = _checked(schema)
    for attempt in range(PREPARE_TRIES):
        try:
            await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{quoted}"')
            await connection.execute(f'SET search_path TO "{quoted}"')
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS migrations"
                " (one boolean PRIMARY KEY DEFAULT true CHECK (one), applied int[] NOT NULL,"
                " compatible_from int NOT NULL)"
            )
            await connection.execute(
                "INSERT INTO migrations (applied, compatible_from) VALUES ('{}', $1) ON CONFLICT DO NOTHING",
                COMPATIBLE_FROM,
            )
        except ALREADY_THERE:
            # IF NOT EXISTS looks before it writes: the other one was between the two.
            if attempt == PREPARE_TRIES - 1:
                raise
        else:
            return


def _checked(schema: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema):
        raise ConfigError(f"schema {schema!r} is not a plain name (lower-case letters, digits, underscores)")
    return schema
