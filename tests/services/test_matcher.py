"""The matcher does what `store/looks.py` says, a round at a time, and what it left half done is done again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotor import limits
from rotor.engine.run import StepKey
from rotor.services import matcher
from rotor.services.matcher import LINGER, Matcher
from rotor.store import looks
from rotor.store.database import Database
from rotor.store.fresh import HELD_FOR
from rotor.store.intake import NewEvent
from rotor.store.store import Store
from tests import messages
from tests.store.actors import begin, hold, match, send, serve
from tests.store.tables import change, select, step_row


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


async def test_what_is_left_to_the_database_during_a_round_is_looked_at_in_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FRESH_BYTES", 0)
    unlooked_waits = matcher.unlooked_waits

    async def send_first(database: Database) -> list[StepKey]:
        monkeypatch.setattr(matcher, "unlooked_waits", unlooked_waits)
        await send(store, "opened")
        return await unlooked_waits(database)

    monkeypatch.setattr(matcher, "unlooked_waits", send_first)
    loop = Matcher(store)

    assert [await loop.tick() for _ in range(2)] == [0, None]
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


async def test_an_event_whose_server_died_before_it_looked_is_looked_at_by_another(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await hold(second_store)
    await holder.say(messages.awaits_event(run_id, "w", "opened"))
    await match(second_store)
    await send(store, "opened", id="e-1")  # and dies
    await match(second_store)
    assert (await step_row(store.database, run_id, "w"))["event_id"] is None
    second_store.database.advance(HELD_FOR)
    await match(second_store)

    assert (await step_row(store.database, run_id, "w"))["event_id"] == "e-1"


async def test_a_wait_whose_server_died_before_it_looked_back_is_looked_at_by_another(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await hold(store)
    await send(second_store, "opened", id="e-1")
    await match(second_store)
    await holder.say(messages.awaits_event(run_id, "w", "opened"))  # and dies
    await match(second_store)

    assert (await step_row(store.database, run_id, "w"))["event_id"] == "e-1"


async def test_what_memory_has_no_room_for_is_read_back_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FRESH_BYTES", 1)
    holder, run_id = await hold(store)
    await holder.say(*(messages.awaits_event(run_id, step, "opened") for step in ("a", "b", "c")))
    await match(store)
    for number in range(3):
        await send(store, "opened", id=f"e-{number}")
    assert store.changes.fresh.elsewhere
    loop = Matcher(store)
    while await loop.tick() is not None:
        pass

    taken = [(await step_row(store.database, run_id, step))["event_id"] for step in ("a", "b", "c")]
    assert taken == ["e-0", "e-1", "e-2"]
    assert await select(store.database, "SELECT 1 FROM deliveries") == []


async def test_deliveries_that_were_looked_at_go_together_once_nothing_more_comes(store: Store) -> None:
    loop = Matcher(store)
    await loop.tick()
    for number in range(3):
        await send(store, "opened", id=f"e-{number}")
        assert await loop.tick() == LINGER
    assert len(await select(store.database, "SELECT 1 FROM deliveries")) == 3
    assert await loop.tick() is None

    assert await select(store.database, "SELECT 1 FROM deliveries") == []


async def test_what_a_workspace_changes_has_no_events_of_another_looked_at_again(store: Store) -> None:
    await change(store.database, "INSERT INTO workspaces (name) VALUES ('other')")
    loop = Matcher(store)
    await loop.tick()
    for workspace_id in (1, 2):
        await send(store, "opened", workspace_id=workspace_id)
    await loop.tick()
    await change(store.database, "UPDATE workspaces SET revision = revision + 1 WHERE id = 2")
    assert await loop.tick() == 0

    left = await select(store.database, "SELECT workspace_ids FROM deliveries")
    assert [row["workspace_ids"] for row in left] == [[2]]


async def test_an_earlier_event_of_another_server_that_was_not_looked_at_is_still_the_first(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_event(run_id, "w", "opened", equals={"data.id": 1}))
    await match(store)
    await send(second_store, "opened", {"id": 1}, id="first")  # by a server that is slow to look
    await send(store, "opened", {"id": 1}, id="second")
    await match(store)
    assert (await step_row(store.database, run_id, "w"))["event_id"] == "first"
    await match(second_store)

    assert (await step_row(store.database, run_id, "w"))["event_id"] == "first"


async def test_more_waits_than_are_held_at_once_are_looked_at_some_at_a_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "WAITS", 4)
    holder, run_id = await hold(store)
    steps = [f"w{number}" for number in range(6)]
    waits = [messages.awaits_event(run_id, step, "opened", equals={"data.id": 1}) for step in steps]
    await holder.say(*waits)
    await match(store)
    await store.intake.accept(1, [NewEvent("opened", messages.raw({"id": 1}), f"e-{number}") for number in range(6)])
    await match(store)

    assert [(await step_row(store.database, run_id, step))["event_id"] for step in steps] == [
        f"e-{number}" for number in range(6)
    ]
