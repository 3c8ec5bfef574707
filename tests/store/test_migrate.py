"""Migrations are applied once, by whichever server comes first, and the schema that they make is known."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import asyncpg
import pytest

from rotor.errors import ConfigError
from rotor.store.database import Database
from rotor.store.migrate import migrate, migrations, pending
from rotor.store.readiness import hindrance
from tests.store.tables import change, select, value

SNAPSHOT = Path(__file__).with_name("schema.txt")


async def test_a_fresh_schema_gets_every_migration(dsn: str, clean_schema: str) -> None:
    names = [name for _, name, _ in migrations()]
    assert await pending(dsn, schema=clean_schema) == names
    assert await migrate(dsn, schema=clean_schema) == names
    assert await pending(dsn, schema=clean_schema) == []


async def test_migrating_again_changes_nothing(database: Database) -> None:
    await change(database, "INSERT INTO workspaces (name) VALUES ('mine')")
    assert await migrate(database.dsn, schema=database.schema) == []

    assert await value(database, "SELECT count(*) FROM workspaces") == 2


async def test_servers_that_start_at_once_migrate_once(dsn: str, clean_schema: str) -> None:
    applied = await asyncio.gather(*(migrate(dsn, schema=clean_schema) for _ in range(4)))

    assert sorted(name for names in applied for name in names) == [name for _, name, _ in migrations()]
    assert await pending(dsn, schema=clean_schema) == []


async def test_a_migration_that_fails_leaves_nothing_behind(
    dsn: str, clean_schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [*migrations(), (9999, "9999_broken", "CREATE TABLE half (id int); SELECT 1 / 0")]
    monkeypatch.setattr("rotor.store.migrate.migrations", lambda: broken)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(dsn, schema=clean_schema)

    assert await pending(dsn, schema=clean_schema) == ["9999_broken"]
    monkeypatch.undo()
    assert await migrate(dsn, schema=clean_schema) == []


async def test_a_schema_that_is_newer_is_served_as_long_as_it_says_so(database: Database) -> None:
    await change(database, "UPDATE migrations SET applied = applied || 9999")
    for act in (migrate, pending):
        assert await act(database.dsn, schema=database.schema) == []
    assert await hindrance(database) is None

    await change(database, "UPDATE migrations SET compatible_from = 9999")
    for act in (migrate, pending):
        with pytest.raises(ConfigError, match="no rotorsh that lacks migration 9999, as this one does"):
            await act(database.dsn, schema=database.schema)
    told = await hindrance(database)
    assert told is not None
    assert "install a newer one" in told
    await change(database, "UPDATE migrations SET applied = '{1}', compatible_from = 1")


@pytest.mark.parametrize("schema", ['a"b', "A", "a b", "", "1a", "x" * 64])
async def test_a_schema_is_a_plain_name(dsn: str, schema: str) -> None:
    with pytest.raises(ConfigError, match="plain name"):
        await migrate(dsn, schema=schema)


async def test_two_schemas_of_one_database_know_nothing_of_each_other(database: Database, dsn: str) -> None:
    other = f"{database.schema}_other"
    await migrate(dsn, schema=other)
    pool = await Database.connect(dsn, schema=other)
    try:
        await change(database, "INSERT INTO workspaces (name) VALUES ('mine')")
        assert [row["name"] for row in await select(pool, "SELECT name FROM workspaces")] == ["default"]
    finally:
        await change(pool, f'DROP SCHEMA "{other}" CASCADE')
        await pool.close()


def test_migrations_are_numbered_without_gaps_and_say_why() -> None:
    assert [number for number, _, _ in migrations()] == list(range(1, len(migrations()) + 1))
    assert all(text.startswith("-- ") for _, _, text in migrations())


async def test_the_schema_is_the_one_that_was_reviewed(database: Database) -> None:
    """Whoever changes the schema sees what it comes to; WRITE_SCHEMA=1 writes the snapshot anew."""
    described = await describe(database)
    if os.environ.get("WRITE_SCHEMA"):
        SNAPSHOT.write_text(described, encoding="utf-8")

    assert described == SNAPSHOT.read_text(encoding="utf-8"), "run this test with WRITE_SCHEMA=1, and review the change"


async def describe(database: Database) -> str:
    """Every table, type, index, constraint, domain, sequence and function of the schema as text, in one order."""
    rows = await select(
        database,
        """
        SELECT CASE relkind WHEN 'c' THEN 'type ' ELSE 'table ' END || relname || ' ' || attname AS name,
               format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
               || CASE WHEN attidentity <> '' THEN ' IDENTITY' ELSE '' END
               || coalesce(' DEFAULT ' || pg_get_expr(adbin, adrelid), '') AS text
        FROM pg_attribute
        JOIN pg_class ON pg_class.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace = $1::text::regnamespace AND relkind IN ('r', 'c') AND attnum > 0 AND NOT attisdropped
        UNION ALL
        SELECT 'table ' || relname, 'WITH (' || array_to_string(reloptions, ', ') || ')'
        FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relkind = 'r' AND reloptions IS NOT NULL
        UNION ALL
        SELECT 'constraint ' || relname || ' ' || conname, pg_get_constraintdef(pg_constraint.oid)
        FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
        WHERE connamespace = $1::text::regnamespace AND contype IN ('p', 'u', 'c', 'f')
        UNION ALL
        SELECT 'domain ' || typname || ' ' || conname,
               format_type(typbasetype, NULL) || ' ' || pg_get_constraintdef(pg_constraint.oid)
        FROM pg_constraint JOIN pg_type ON pg_type.oid = contypid
        WHERE connamespace = $1::text::regnamespace
        UNION ALL
        SELECT 'index ' || indexname, indexdef FROM pg_indexes WHERE schemaname = $1
        UNION ALL
        SELECT 'sequence ' || sequencename, data_type || ' CACHE ' || cache_size FROM pg_sequences WHERE schemaname = $1
        UNION ALL
        SELECT 'function ' || proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = $1::text::regnamespace
        ORDER BY 1, 2
        """,
        database.schema,
    )
    return "\n".join(f"{row['name']}: {row['text']}" for row in rows).replace(f"{database.schema}.", "") + "\n"
