"""Whether the database answers, and has the schema that this code needs."""

from __future__ import annotations

import asyncio

import asyncpg

from rotor.store.database import Database
from rotor.store.migrate import migrations
from rotor.store.problems import is_unavailable

__all__ = ["hindrance"]


async def hindrance(database: Database, *, timeout_seconds: float = 5.0) -> str | None:
    """What keeps this server from doing its work, or None: it is ready."""
    try:
        async with asyncio.timeout(timeout_seconds):
            applied = set(await database.fetchval("read_applied_migrations") or [])
    except asyncpg.UndefinedTableError:
        applied = set()
    except Exception as error:
        if not is_unavailable(error):
            raise
        return f"the database does not answer ({type(error).__name__})"
    missing = [name for number, name, _ in migrations() if number not in applied]
    return f"the schema lacks migrations ({', '.join(missing)}): run `rotor migrate`" if missing else None
