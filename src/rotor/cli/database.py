"""The database of the commands that work on it directly: `DATABASE_URL`, with its errors in plain words."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

from rotor.errors import ConfigError, ConnectionLostError

__all__ = ["check_migrated", "database_schema", "database_url", "on_database", "translated"]

T = TypeVar("T")


def database_url() -> str:
    """`DATABASE_URL`. Raises `ConfigError` where it is not set."""
    dsn = os.environ.get("DATABASE_URL", "")
    if not dsn:
        raise ConfigError(
            "DATABASE_URL is not set: give the Postgres to work on, as postgresql://USER:PASSWORD@HOST/NAME"
        )
    return dsn


def database_schema() -> str:
    """The schema that holds Rotor's tables: `ROTOR_SCHEMA`, or `rotor`."""
    return os.environ.get("ROTOR_SCHEMA", "rotor")


def on_database(work: Callable[..., Awaitable[T]]) -> T:
    """Run `work(database)` on a pool to a migrated schema.

    Raises `ConnectionLostError` where Postgres does not answer, `ConfigError` where migrations are missing.
    """
    from rotor.store.database import Database

    dsn, schema = database_url(), database_schema()
    check_migrated(dsn, schema)

    async def connected() -> T:
        database = await Database.connect(dsn, schema=schema, connections_max=2)
        try:
            return await work(database)
        finally:
            await database.close()

    return translated(connected)


def check_migrated(dsn: str, schema: str) -> None:
    """Raise `ConfigError` where migrations are missing, `ConnectionLostError` where Postgres does not answer."""
    from rotor.store.migrate import pending

    if translated(lambda: pending(dsn, schema=schema)):
        raise ConfigError(f"the schema {schema!r} lacks migrations: run `rotor migrate` first")


def translated(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` to its end; where Postgres does not let us in, say so without the password."""
    import asyncio

    import asyncpg

    async def whole() -> T:
        return await work()

    try:
        return asyncio.run(whole())
    except (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError) as error:
        raise ConnectionLostError(
            f"the database at {_place(database_url())} does not answer ({error}): "
            "is Postgres running, and is DATABASE_URL right?"
        ) from None
    except (
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
        asyncpg.InsufficientPrivilegeError,
    ) as error:
        raise ConfigError(f"the database at {_place(database_url())} refuses: {error}: correct DATABASE_URL") from None
    except (asyncpg.ClientConfigurationError, ValueError) as error:
        raise ConfigError(f"DATABASE_URL is not a Postgres address ({error})") from None


def _place(dsn: str) -> str:
    """Host and port of a URL, which hold no secret."""
    parts = urlsplit(dsn)
    return parts.netloc.rpartition("@")[2] or "a local socket"
