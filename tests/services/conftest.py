"""The store of one server, and workers that connect to it without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from rotor.services.workers import Workers
from rotor.store.database import Database
from rotor.store.destinations import Destinations
from rotor.store.doctor import check
from rotor.store.store import Store
from tests.store.conftest import LATE


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Store]:
    """The store of one server. Whatever the test did, the doctor finds nothing wrong at its end."""
    store = Store.on(database, destinations=Destinations().with_loopback())
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


@pytest.fixture
def workers(store: Store) -> Workers:
    return Workers(store)
