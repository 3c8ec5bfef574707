"""The rescuer takes up what dead servers and dead holders left."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from rotor import limits
from rotor.services import rescuer as rescuer_module
from rotor.services.rescuer import ORPHANS_EVERY, Rescuer
from rotor.store import leases
from rotor.store.database import Database
from rotor.store.store import Store
from tests import messages
from tests.store.actors import Holder, begin, hold, serve
from tests.store.tables import change, select, status_of, step_row, stop_clock, value


async def test_with_nothing_left_behind_the_rescuer_looks_again_at_its_own_pace(store: Store) -> None:
    assert await Rescuer(store).tick() == ORPHANS_EVERY


async def test_runs_of_a_lease_that_ran_out_are_given_to_another_and_the_lease_is_forgotten(store: Store) -> None:
    await serve(store, "f")
    for _ in range(3):
        await begin(store)
    holder = await Holder.connect(store, lasting=False)
    await holder.claim()
    await Rescuer(store).tick()
    assert await value(store.database, "SELECT count(*) FROM runs WHERE status = 'running'") == 3
    store.database.advance(limits.LEASE)
    await Rescuer(store).tick()

    assert await value(store.database, "SELECT count(*) FROM runs WHERE status = 'queued'") == 3
    assert await select(store.database, "SELECT 1 FROM leases") == []


async def test_after_the_database_was_away_holders_come_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await serve(store, "f")
    run_id = await begin(store)
    holder = await Holder.connect(store, lasting=False)
    await holder.claim()
    rescuer = Rescuer(store)
    await rescuer.tick()
    store.database.advance(limits.LEASE)
    monkeypatch.setattr(rescuer_module, "AWAY_SECONDS", 0.0)
    await rescuer.tick()
    monkeypatch.undo()
    await rescuer.tick()
    assert await status_of(store.database, run_id) == "running"
    assert await leases.extend(store.database, {holder.lease_id: 1}) == {holder.lease_id}


async def test_where_the_database_goes_away_again_before_holders_had_their_time_they_come_first_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await serve(store, "f")
    run_id = await begin(store)
    await (await Holder.connect(store, lasting=False)).claim()
    rescuer = Rescuer(store)
    await rescuer.tick()
    store.database.advance(limits.LEASE)
    monkeypatch.setattr(rescuer_module, "HOLDERS_FIRST_SECONDS", 0.2)
    with monkeypatch.context() as away:
        away.setattr(rescuer_module, "AWAY_SECONDS", 0.0)
        assert await rescuer.tick() == 0.1
    await asyncio.sleep(0.3)  # away once more
    await rescuer.tick()

    assert await status_of(store.database, run_id) == "running"


async def test_a_server_that_has_just_come_up_leaves_holders_time_to_connect(store: Store) -> None:
    await serve(store, "f")
    run_id = await begin(store)
    holder = await Holder.connect(store, lasting=False)
    await holder.claim()
    store.database.advance(limits.LEASE)
    rescuer = Rescuer(store)
    rescuer.start()
    await rescuer.tick()
    await rescuer.stop()

    assert await status_of(store.database, run_id) == "running"


async def test_what_runs_out_while_the_database_hangs_is_not_taken_by_a_statement_sent_before(store: Store) -> None:
    await serve(store, "f")
    holder = await Holder.connect(store, lasting=False)
    sent_at = await value(store.database, "SELECT rotor_now()")
    store.database.advance(limits.LEASE)
    await leases.take_expired(store.database, sent_at)

    assert await leases.extend(store.database, {holder.lease_id: 1}) == {holder.lease_id}


async def test_more_than_a_batch_is_rescued_round_after_round(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH", 2)
    await serve(store, "f")
    for _ in range(5):
        await begin(store)
    holder = await Holder.connect(store, lasting=False)
    await holder.claim()
    store.database.advance(limits.LEASE)
    rescuer = Rescuer(store)

    assert [await rescuer.tick() for _ in range(3)] == [0, 0, ORPHANS_EVERY]
    assert await value(store.database, "SELECT count(*) FROM runs WHERE status = 'queued'") == 5


async def test_a_signal_whose_server_died_before_it_was_delivered_is_delivered(fresh_database: Database) -> None:
    store = Store.on(fresh_database)
    store.start()
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_signal(run_id, "gate", "s"), messages.parked(run_id))
    await store.database.of(1).fetchrow("complete_signal", "s", b"1", limits.SIGNAL_KEPT)
    completed_at: datetime = await value(store.database, "SELECT completed_at FROM signals")
    found = []
    for later in (0.999, 1):  # its server is given a moment
        await stop_clock(store.database, completed_at + timedelta(seconds=later))
        await Rescuer(store).tick()
        found.append((await step_row(store.database, run_id, "gate"))["output"])
    await store.stop()

    assert found == [None, b"1"]


async def test_a_cancellation_whose_server_died_is_carried_out(store: Store) -> None:
    await serve(store, "f")
    run_id = await begin(store)
    await change(store.database, "UPDATE runs SET cancel_requested_at = rotor_now()")
    await Rescuer(store).tick()

    assert await status_of(store.database, run_id) == "cancelled"
