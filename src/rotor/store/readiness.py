"""Whether the database answers, and has the schema that this code needs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import asyncpg

from rotor.errors import ConfigError, ConnectionLostError
from rotor.store.database import Database
from rotor.store.migrate import incompatibility, missing
from rotor.store.problems import Unreadable, is_unavailable
from rotor.store.vault import ENCRYPTION_KEYS, is_sealed

__all__ = ["hindrance", "reaching", "unreadable"]

EVENTS_TRIED = 100
REFUSALS = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)


@contextmanager
def reaching(dsn: str) -> Iterator[None]:
    """Within, a database at `dsn` that does not let us in is told to a person, without its password.

    Raises `ConnectionLostError` where it does not answer, and `ConfigError` where it refuses or `dsn` is no address.
    """
    try:
        yield
    except (asyncpg.ClientConfigurationError, ValueError) as error:
        raise ConfigError(f"DATABASE_URL is not a Postgres address ({error})") from None
    except REFUSALS as error:
        raise ConfigError(f"the database at {_place(dsn)} refuses: {error}: correct DATABASE_URL") from None
    except Exception as error:
        if not is_unavailable(error):
            raise
        raise ConnectionLostError(
            f"the database at {_place(dsn)} does not answer ({error}): is Postgres running, and is DATABASE_URL right?"
        ) from None


def _place(dsn: str) -> str:
    """Host and port of a URL, which hold no secret."""
    parts = urlsplit(dsn)
    return parts.netloc.rpartition("@")[2] or "a local socket"


async def hindrance(database: Database, *, timeout_seconds: float = 5.0) -> str | None:
    """What keeps this server from doing its work, or None: it is ready."""
    try:
        async with asyncio.timeout(timeout_seconds):
            done = await database.fetchrow("read_applied_migrations")
    except asyncpg.UndefinedTableError:
        done = None
    except Exception as error:
        if not is_unavailable(error):
            raise
        return f"the database does not answer ({type(error).__name__})"
    if done is not None and (problem := incompatibility(**done)):
        return problem
    lacking = missing(done["applied"] if done is not None else [])
    return f"the schema lacks migrations ({', '.join(lacking)}): run `rotor migrate`" if lacking else None


async def unreadable(database: Database) -> str | None:
    """Why this server cannot read the payloads that are stored, judged by the latest; None: it can."""
    try:
        rows = await database.fetch("read_latest_events", EVENTS_TRIED)
    except Unreadable as error:
        return str(error)
    if database.vault is None and any(is_sealed(row["data"]) for row in rows):
        return f"the payloads of this database are encrypted: start the server with their keys in {ENCRYPTION_KEYS}"
    return None
