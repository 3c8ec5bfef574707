"""Whether the database answers, and has the schema that this code needs."""

from __future__ import annotations

import asyncio

import asyncpg

from rotor.store.database import Database
from rotor.store.migrate import incompatibility, missing
from rotor.store.problems import is_unavailable

__all__ = ["hindrance"]


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
