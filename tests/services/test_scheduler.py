"""The scheduler starts the runs of due crons, and wakes whoever hands them out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotor import limits
from rotor.protocol.messages import FunctionSpec, Trigger
from rotor.services.scheduler import Scheduler
from rotor.store import functions
from rotor.store.store import Store
from tests.store.rows import BEGINNING
from tests.store.tables import value
from tests.store.test_schedules import set_clock


async def schedule(store: Store, count: int) -> None:
    await set_clock(store.database, BEGINNING)
    specs = [FunctionSpec(id=f"f{n}", triggers=[Trigger(cron="0 * * * *")]) for n in range(count)]
    await functions.register(store.database, 1, specs)


async def test_the_scheduler_waits_to_be_told_and_wakes_the_dispatcher(store: Store) -> None:
    await schedule(store, 1)
    assert await Scheduler(store).tick() is None
    assert not store.changes.queued.is_set()
    store.database.advance(timedelta(hours=1))
    assert await Scheduler(store).tick() is None

    assert store.changes.queued.is_set()


async def test_more_than_a_batch_is_fired_round_after_round(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH", 2)
    await schedule(store, 5)
    store.database.advance(timedelta(hours=1))
    scheduler = Scheduler(store)

    assert [await scheduler.tick() for _ in range(3)] == [0, 0, None]
    assert await value(store.database, "SELECT count(*) FROM runs") == 5
