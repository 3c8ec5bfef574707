"""A run that wakes goes on at once with whoever keeps its body, where that one is there and has room."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from rotor.protocol.messages import Committed, Goodbye, ResumeRun
from rotor.store import functions, leases
from rotor.store.statements import workspace_statement
from rotor.store.store import Store
from tests import messages
from tests.store.actors import Holder, begin, fire_deadlines, hold, serve
from tests.store.tables import change, locked, lose_answer, run_row, status_of, until_blocked

MINUTE = timedelta(minutes=1)


async def kept(store: Store, *, slots: int = 1) -> tuple[Holder, str]:
    """A run that sleeps for a minute, and the holder that keeps its body."""
    holder, run_id = await hold(store)
    holder.slots = slots
    await nap(holder, run_id)
    return holder, run_id


async def nap(holder: Holder, run_id: str) -> None:
    await holder.say(messages.done(run_id, "a"), messages.sleeps(run_id, "nap", 60), messages.parked(run_id, kept=True))


def resumed(holder: Holder) -> list[ResumeRun]:
    return [message for message in holder.told if isinstance(message, ResumeRun)]


async def test_a_run_that_wakes_is_its_keepers_again_in_the_same_commit(store: Store) -> None:
    holder, run_id = await kept(store)
    await fire_deadlines(store, MINUTE)

    row = await run_row(store.database, run_id)
    assert (row["status"], row["lease_id"], row["kept_by"], row["due_at"]) == ("running", holder.lease_id, None, None)
    (resume,) = resumed(holder)
    assert (resume.run_id, resume.settled, [one.id for one in resume.memo]) == (run_id, 1, ["nap"])
    assert await holder.say(messages.completed(run_id)) != []
    assert await status_of(store.database, run_id) == "completed"


async def test_what_it_goes_on_with_bears_the_number_of_its_commit(store: Store) -> None:
    holder, run_id = await kept(store)
    await fire_deadlines(store, MINUTE)
    (resume,) = resumed(holder)
    (later,) = await holder.say(messages.done(run_id, "b"))

    assert isinstance(later, Committed)
    assert 0 < resume.memo[0].group < later.group


async def test_a_keeper_connects_again_where_it_may_have_a_run_that_nobody_told_it_of(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, run_id = await kept(store)
    lose_answer(store.database, monkeypatch)
    await fire_deadlines(store, MINUTE)

    assert (await run_row(store.database, run_id))["lease_id"] == holder.lease_id
    assert resumed(holder) == []
    assert isinstance(holder.told[-1], Goodbye)


async def test_a_keeper_without_a_free_slot_gets_it_when_it_has_one(store: Store) -> None:
    holder, run_id = await kept(store, slots=0)
    await fire_deadlines(store, MINUTE)

    assert await status_of(store.database, run_id) == "queued"
    assert (await holder.take()).run_id == run_id
    assert isinstance(holder.told[-1], ResumeRun)


async def test_a_keeper_gets_no_more_runs_than_it_has_slots(store: Store) -> None:
    holder, first = await kept(store, slots=0)
    await begin(store)
    second = (await holder.take()).run_id
    await nap(holder, second)
    holder.slots = 1
    await fire_deadlines(store, MINUTE)

    assert sorted([await status_of(store.database, run) for run in (first, second)]) == ["queued", "running"]
    assert len(resumed(holder)) == 1


async def test_a_run_that_wakes_does_not_go_before_those_that_wait_for_their_turn(store: Store) -> None:
    holder, run_id = await kept(store)
    store.holders.hungry.add(holder.lease_id)
    await fire_deadlines(store, MINUTE)

    assert await status_of(store.database, run_id) == "queued"


async def test_a_slot_that_the_dispatcher_is_about_to_fill_is_not_filled_twice(store: Store) -> None:
    holder, run_id = await kept(store)
    with store.holders.reserve({holder.lease_id: 50}) as room:
        assert room == {holder.lease_id: 1}
        await fire_deadlines(store, MINUTE)

    assert await status_of(store.database, run_id) == "queued"
    assert store.holders.room(holder.lease_id) == 1


async def test_a_run_of_a_paused_function_does_not_go_on(store: Store) -> None:
    holder, run_id = await kept(store)
    await functions.pause(store.database, 1, "f")
    await fire_deadlines(store, MINUTE)

    assert (await status_of(store.database, run_id), resumed(holder)) == ("queued", [])


async def test_a_run_that_wakes_while_its_function_is_being_paused_does_not_go_on(store: Store) -> None:
    holder, run_id = await kept(store)
    async with locked(store.database, workspace_statement("pause_function"), 1, "f", True) as pausing:
        waking = asyncio.create_task(fire_deadlines(store, MINUTE))
        await until_blocked(pausing)
    await waking

    assert (await status_of(store.database, run_id), resumed(holder)) == ("queued", [])


async def test_a_pause_is_answered_once_what_is_just_going_on_does(store: Store, second_store: Store) -> None:
    holder, run_id = await kept(store)
    async with locked(store.database, "LOCK TABLE waits IN SHARE MODE") as other:
        waking = asyncio.create_task(fire_deadlines(store, MINUTE))
        await until_blocked(other)
        pausing = asyncio.create_task(functions.pause(second_store.database, 1, "f"))
        await until_blocked(other, 2)
    await asyncio.gather(waking, pausing)

    assert (await status_of(store.database, run_id), len(resumed(holder))) == ("running", 1)


async def test_a_run_of_a_function_that_is_served_by_now_does_not_go_on_with_a_worker(store: Store) -> None:
    holder, run_id = await kept(store)
    await serve(store, "f", serve_url="https://app.example.com/api/rotor")
    await fire_deadlines(store, MINUTE)

    assert (await status_of(store.database, run_id), resumed(holder)) == ("queued", [])


async def test_a_keeper_that_has_come_back_on_another_connection_is_given_nothing_by_the_old_one(store: Store) -> None:
    holder, run_id = await kept(store)
    await leases.resume(store.database, 1, holder.lease_id)
    await fire_deadlines(store, MINUTE)

    assert (await status_of(store.database, run_id), resumed(holder)) == ("queued", [])


async def test_a_run_whose_keeper_leaves_as_it_wakes_is_given_to_others_at_once(store: Store) -> None:
    holder, run_id = await kept(store)
    async with locked(store.database, "LOCK TABLE runs IN SHARE MODE") as other:
        waking = asyncio.create_task(fire_deadlines(store, MINUTE))
        await until_blocked(other)
        store.holders.remove(holder.lease_id)
    await waking
    await store.committer.stop()

    row = await run_row(store.database, run_id)
    assert (row["status"], row["losses"], resumed(holder)) == ("queued", 0, [])


async def test_a_keeper_whose_lease_ran_out_is_given_nothing(store: Store) -> None:
    holder, run_id = await kept(store)
    await change(store.database, "UPDATE leases SET expires_at = rotor_now() WHERE id = $1", holder.lease_id)
    await fire_deadlines(store, MINUTE)

    assert (await status_of(store.database, run_id), resumed(holder)) == ("queued", [])


async def test_a_body_that_made_room_for_those_that_parked_later_is_sent_from_its_memo(store: Store) -> None:
    holder, first = await kept(store)
    store.holders.add(holder.lease_id, holder.hear, slots=lambda: 9, keeps=1)
    runs = []
    for _ in range(2):
        await begin(store)
        runs.append((await holder.take()).run_id)
        await nap(holder, runs[-1])
    await fire_deadlines(store, MINUTE)

    assert [resume.run_id for resume in resumed(holder)] == runs[1:]
    starts = {start.run_id: [one.id for one in start.memo] for start in await holder.claim()}
    assert starts == {first: ["a", "nap"], runs[0]: ["a", "nap"]}


async def test_a_run_that_waits_for_nothing_any_more_goes_the_short_way_again(store: Store) -> None:
    holder, run_id = await kept(store)
    await fire_deadlines(store, MINUTE)

    assert store.holders.is_quiet(holder.lease_id, run_id)


async def test_a_run_that_still_waits_for_something_goes_the_long_way(store: Store) -> None:
    holder, run_id = await hold(store)
    holder.slots = 1
    await holder.say(messages.sleeps(run_id, "long nap", 600), messages.sleeps(run_id, "nap", 60))
    await holder.say(messages.parked(run_id, kept=True))
    await fire_deadlines(store, MINUTE)
    assert not store.holders.is_quiet(holder.lease_id, run_id)
    await holder.say(messages.withdrawn(run_id, "long nap"))

    assert store.holders.is_quiet(holder.lease_id, run_id)
    assert store.holders.told(holder.lease_id, UUID(run_id)) == 1
