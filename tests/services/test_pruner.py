"""The pruner goes on while there is much to forget, and else looks once a minute."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotor import limits
from rotor.services.pruner import EVERY, Pruner
from rotor.store.retention import Retention
from rotor.store.store import Store
from tests.store.actors import match, send
from tests.store.tables import value


async def test_the_pruner_goes_on_without_a_pause_while_there_is_much(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BATCH", 2)
    for _ in range(5):
        await send(store, "nobody")
    await match(store)
    pruner = Pruner(store, Retention(runs=timedelta(days=1), events=timedelta(days=1)))
    assert await pruner.tick() == EVERY
    store.database.advance(timedelta(days=2))

    assert [await pruner.tick() for _ in range(3)] == [0, 0, EVERY]
    assert await value(store.database, "SELECT count(*) FROM events") == 0
