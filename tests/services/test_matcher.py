"""The matcher does what `store/looks.py` says, a round at a time, and what it left half done is done again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotor import limits
from rotor.services import matcher
from rotor.services.matcher import Matcher
from rotor.store.fresh import HELD_FOR
from rotor.store.store import Store
from tests import messages
from tests.store.actors import begin, hold, send, serve
from tests.store.tables import select, step_row


async def test_with_nothing_to_look_at_the_matcher_waits_to_be_told(store: Store) -> None:
    assert await Matcher(store).tick() is None


async def test_while_there_are_events_the_matcher_goes_on_without_a_pause(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matcher, "BATCHES", 2)
    monkeypatch.setattr(limits, "FRESH_BYTES", 0)
    for _ in range(5):
        await send(store, "opened")
    loop = Matcher(store)

    assert [await loop.tick() for _ in range(3)] == [0, 0, None]
    assert await select(store.database, "SELECT 1 FROM deliveries") == []


async def test_a_loop_that_is_told_of_an_event_delivers_it(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_event(run_id, "w", "opened"), messages.parked(run_id))
    store.changes.queued.clear()
    loop = Matcher(store)
    loop.start()
    await send(store, "opened", id="e-1")
    await store.changes.queued.wait()
    await loop.stop()

    assert (await step_row(store.database, run_id, "w"))["event_id"] == "e-1"


async def test_a_batch_whose_server_died_over_it_is_taken_up_by_another(
    store: Store, second_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_event(run_id, "w", "opened"))
    await Matcher(store).tick()
    await send(store, "opened", id="e-1")

    async def dies(*_: object, **__: object) -> None:
        raise OSError("the server dies")

    monkeypatch.setattr(matcher, "look_at_events", dies)
    with pytest.raises(OSError, match="dies"):
        await Matcher(store).tick()
    monkeypatch.undo()
    await Matcher(second_store).tick()
    assert (await step_row(store.database, run_id, "w"))["event_id"] is None
    second_store.database.advance(HELD_FOR)
    second_store.changes.look_elsewhere()  # as its pulse says
    await Matcher(second_store).tick()

    assert (await step_row(store.database, run_id, "w"))["event_id"] == "e-1"


async def test_a_deferred_event_that_takes_effect_wakes_the_dispatcher(store: Store) -> None:
    await serve(store, "f")
    await begin(store)
    now = (await select(store.database, "SELECT rotor_now() AS now"))[0]["now"]
    await send(store, "start f", ts=now + timedelta(minutes=1))
    store.changes.queued.clear()
    loop = Matcher(store)
    while await loop.tick() == 0:
        pass
    assert not store.changes.queued.is_set()
    store.database.advance(timedelta(minutes=1))
    store.changes.look_elsewhere()
    await loop.tick()

    assert store.changes.queued.is_set()
