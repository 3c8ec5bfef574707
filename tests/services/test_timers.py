"""Timers fire what is due, and sleep until what comes next."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from rotor import limits
from rotor.services.timers import AGAIN, Timers
from rotor.store.store import Store
from tests import messages
from tests.store.actors import Holder, begin, hold, send, serve
from tests.store.tables import status_of, step_status, value, waits_of


async def test_with_nothing_parked_timers_wait_to_be_told(store: Store) -> None:
    assert await Timers(store).tick() is None


async def test_timers_sleep_until_the_nearest_deadline(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.sleeps(run_id, "far", 3600), messages.sleeps(run_id, "near", 60))
    pause = await Timers(store).tick()

    assert pause is not None
    assert 30 < pause <= 60.1


async def test_nothing_fires_early(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.sleeps(run_id, "nap", 3600))
    store.database.advance(timedelta(seconds=3500))
    pause = await Timers(store).tick()

    assert await waits_of(store.database, run_id) == ["nap"]
    assert pause is not None
    assert pause > 0
    store.database.advance(timedelta(seconds=100))
    await Timers(store).tick()
    assert await waits_of(store.database, run_id) == []


async def test_a_due_sleep_is_fired_by_a_loop_that_is_told_of_it(store: Store) -> None:
    timers = Timers(store)
    timers.start()
    holder, run_id = await hold(store)
    store.changes.queued.clear()
    await holder.say(messages.sleeps(run_id, "nap", 0.02), messages.parked(run_id))
    await store.changes.queued.wait()
    await timers.stop()

    assert await status_of(store.database, run_id) == "queued"
    late = await value(store.database, "SELECT ended_at - deadline FROM steps")
    assert timedelta() <= late < timedelta(minutes=1)


async def test_more_than_a_batch_is_fired_round_after_round(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH", 4)
    holder, run_id = await hold(store)
    await holder.say(*(messages.sleeps(run_id, "nap", 60, index=n) for n in range(10)))
    store.database.advance(timedelta(seconds=60))
    timers = Timers(store)

    assert [await timers.tick() for _ in range(4)] == [0, 0, None, None]
    assert await waits_of(store.database, run_id) == []


async def test_timers_of_two_servers_fire_each_deadline_once(store: Store, second_store: Store) -> None:
    await serve(store, "f")
    runs = [await begin(store) for _ in range(20)]
    holder = await Holder.connect(store)
    await holder.claim()
    for run in runs:
        await holder.say(messages.sleeps(run, "nap", 60), messages.parked(run))
    for each in (store, second_store):
        each.database.advance(timedelta(seconds=60))
    await asyncio.gather(Timers(store).tick(), Timers(second_store).tick())

    assert await value(store.database, "SELECT array_agg(DISTINCT settled) FROM runs") == [1]


async def test_timers_that_get_nowhere_do_not_spin(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH", 1)
    holder, run_id = await hold(store)
    await holder.say(messages.sleeps(run_id, "nap", 60))
    store.database.advance(timedelta(seconds=60))

    async def nothing(arrivals: list[object]) -> list[bool]:
        return [False for _ in arrivals]

    monkeypatch.setattr(store.committer, "submit_all", nothing)
    assert await Timers(store).tick() == AGAIN


async def test_a_wait_takes_an_event_that_came_before_its_deadline_and_was_not_looked_at_in_time(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_event(run_id, "w", "opened", seconds=60), messages.parked(run_id))
    await send(store, "opened", {"by": "c-1"})
    store.database.advance(timedelta(seconds=61))
    await Timers(store).tick()

    assert await step_status(store.database, run_id, "w") == "completed"
