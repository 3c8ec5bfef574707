"""Apply the numbered migrations, each once, each in its own transaction.

Several servers may start at once: the row lock of the ledger lets one of them through at a time.
"""

from __future__ import annotations

import re
from importlib.resources import files

import asyncpg

from rotor.errors import ConfigError

__all__ = ["migrate", "pending"]

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

    Raises `ConfigError` where the schema is newer than this code.
    """
    connection = await asyncpg.connect(dsn, server_settings={"application_name": "rotor migrate"})
    try:
        await _prepare(connection, schema)
        applied: list[str] = []
        for number, name, text in migrations():
            async with connection.transaction():
                done = set((await connection.fetchval("SELECT applied FROM migrations FOR UPDATE")) or [])
                _refuse_newer(done)
                if number not in done:
                    await connection.execute(text)
                    await connection.execute("UPDATE migrations SET applied = applied || $1::int", number)
                    applied.append(name)
        return applied
    finally:
        await connection.close()


async def pending(dsn: str, *, schema: str = "rotor") -> list[str]:
    """The names of the migrations that `schema` still lacks."""
    connection = await asyncpg.connect(dsn, server_settings={"application_name": "rotor migrate"})
    try:
        known = await connection.fetchval("SELECT to_regclass($1)", f'"{_checked(schema)}".migrations')
        done = set(await connection.fetchval(f'SELECT applied FROM "{schema}".migrations')) if known else set()  # noqa: S608
        _refuse_newer(done)
        return [name for number, name, _ in migrations() if number not in done]
    finally:
        await connection.close()


async def _prepare(connection: asyncpg.Connection, schema: str) -> None:
    """Make the schema and its ledger, a single row; two who do so at once end with one."""
    quoted = _checked(schema)
    for attempt in range(PREPARE_TRIES):
        try:
            await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{quoted}"')
            await connection.execute(f'SET search_path TO "{quoted}"')
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS migrations"
                " (one boolean PRIMARY KEY DEFAULT true CHECK (one), applied int[] NOT NULL)"
            )
            await connection.execute("INSERT INTO migrations (applied) VALUES ('{}') ON CONFLICT DO NOTHING")
        except ALREADY_THERE:
            # IF NOT EXISTS looks before it writes: the other one was between the two.
            if attempt == PREPARE_TRIES - 1:
                raise
        else:
            return


def _refuse_newer(done: set[int]) -> None:
    known = {number for number, _, _ in migrations()}
    if done - known:
        raise ConfigError(
            f"the database has migration {max(done - known)}, which this rotorsh does not know: install the newer one"
        )


def _checked(schema: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema):
        raise ConfigError(f"schema {schema!r} is not a plain name (lower-case letters, digits, underscores)")
    return schema
