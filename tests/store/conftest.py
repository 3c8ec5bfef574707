"""Stores on a fresh schema: one server, and where a test wants it another beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from rotor.store.database import Database
from rotor.store.doctor import check
from rotor.store.store import Store

LATE = {"deadline passed over", "delivery passed over", "look back passed over", "signal passed over", "lease is gone"}
"""What a test may leave undone that moved the clock."""


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Store]:
    """The store of one server. Whatever the test did, the doctor finds nothing wrong at its end."""
    store = Store.on(database)
    store.start()
    yield store
    await store.stop()
    assert [finding for finding in await check(database) if finding.kind not in LATE] == []


@pytest.fixture
async def second_store(database: Database) -> AsyncIterator[Store]:
    """The store of another server on the same schema, with connections of its own."""
    pool = await Database.connect(database.dsn, schema=database.schema)
    store = Store.on(pool)
    store.start()
    yield store
    await store.stop()
    await pool.close()
