"""A schema for a moment: migrated, used, and dropped with all that it holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg

from rotor.store.migrate import migrate

__all__ = ["scratch_schema"]


@asynccontextmanager
async def scratch_schema(dsn: str) -> AsyncIterator[str]:
    """The name of a new schema on `dsn`, which no other has; its user must be allowed to create one."""
    name = f"rotor_scratch_{uuid4().hex}"
    try:
        await migrate(dsn, schema=name)
        yield name
    finally:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute("SET client_min_messages = warning")
            await connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
        finally:
            await connection.close()
