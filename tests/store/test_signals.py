"""A signal is delivered once, whether it comes before its wait, after it, or with its timeout."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from rotor import limits
from rotor.store.problems import Conflict
from rotor.store.signals import Completion, complete
from rotor.store.store import Store
from tests import messages
from tests.store.actors import Holder, begin, fire_deadlines, hold, rescue, serve
from tests.store.tables import change, locked, select, status_of, step_row, step_status, until_blocked, value


async def waiting_run(store: Store, signal: str = "s", *, seconds: float = 3600) -> tuple[Holder, str]:
    """A parked run that waits for a signal in step `gate`."""
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_signal(run_id, "gate", signal, seconds=seconds), messages.parked(run_id))
    return holder, run_id


async def test_a_signal_after_the_wait_is_delivered(store: Store) -> None:
    _, run_id = await waiting_run(store)
    completion = await complete(store, 1, "s", b'{"approved":true}')

    assert completion == Completion(UUID(run_id), delivered=True)
    step = await step_row(store.database, run_id, "gate")
    assert (step["status"], step["output"]) == ("completed", b'{"approved":true}')
    assert await status_of(store.database, run_id) == "queued"


async def test_a_signal_before_the_wait_is_not_lost(store: Store) -> None:
    holder, run_id = await hold(store)
    assert await complete(store, 1, "s", b'"early"') == Completion(None, delivered=False)
    await holder.say(messages.awaits_signal(run_id, "gate", "s"), messages.parked(run_id))

    step = await step_row(store.database, run_id, "gate")
    assert (step["status"], step["output"]) == ("completed", b'"early"')
    assert await status_of(store.database, run_id) == "running"
    assert holder.settled(run_id) == ["gate"]


@pytest.mark.parametrize("waits", [True, False], ids=["delivered", "kept"])
async def test_a_second_completion_is_a_conflict(store: Store, waits: bool) -> None:
    if waits:
        _, run_id = await waiting_run(store)
    await complete(store, 1, "s", b"1")
    with pytest.raises(Conflict, match="completed already"):
        await complete(store, 1, "s", b"2")

    assert await value(store.database, "SELECT data FROM signals") == b"1"
    if waits:
        assert (await step_row(store.database, run_id, "gate"))["output"] == b"1"


async def test_of_two_completions_at_once_one_counts(store: Store, second_store: Store) -> None:
    _, run_id = await waiting_run(store)
    results = await asyncio.gather(
        *(complete(each, 1, "s", b"1") for each in (store, second_store, store, second_store)), return_exceptions=True
    )

    assert [result for result in results if isinstance(result, Completion)] == [
        Completion(UUID(run_id), delivered=True)
    ]
    assert sum(isinstance(result, Conflict) for result in results) == 3


async def test_data_that_nobody_waits_for_is_kept_for_its_time(store: Store) -> None:
    await complete(store, 1, "s", b"1", kept_for=timedelta(hours=1))
    store.database.advance(timedelta(hours=1))
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_signal(run_id, "gate", "s"), messages.parked(run_id))
    assert await step_status(store.database, run_id, "gate") == "waiting"

    assert await complete(store, 1, "s", b"2") == Completion(UUID(run_id), delivered=True)
    assert (await step_row(store.database, run_id, "gate"))["output"] == b"2"


async def test_a_signal_that_was_not_taken_in_time_can_be_completed_again(store: Store) -> None:
    await complete(store, 1, "s", b"1")
    store.database.advance(limits.SIGNAL_KEPT)
    assert await complete(store, 1, "s", b"2") == Completion(None, delivered=False)
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_signal(run_id, "gate", "s"))

    assert (await step_row(store.database, run_id, "gate"))["output"] == b"2"


async def test_a_completion_for_a_run_that_waits_does_not_expire(store: Store) -> None:
    _, run_id = await waiting_run(store, seconds=10 * 24 * 3600)
    # As by a server that died between the two: the data is there and the run has not heard of it.
    await store.database.of(1).fetchrow("complete_signal", "s", b"1", limits.SIGNAL_KEPT)
    store.database.advance(limits.SIGNAL_KEPT * 2)
    with pytest.raises(Conflict):
        await complete(store, 1, "s", b"2")
    await rescue(store)

    assert (await step_row(store.database, run_id, "gate"))["output"] == b"1"


async def test_a_wait_that_times_out_is_over_and_frees_the_id(store: Store) -> None:
    _, run_id = await waiting_run(store, seconds=60)
    await fire_deadlines(store, timedelta(seconds=60))
    assert await step_status(store.database, run_id, "gate") == "timed_out"

    assert await complete(store, 1, "s", b"1") == Completion(None, delivered=False)


async def test_a_completion_that_is_durable_before_the_timeout_is_delivered_though_the_timer_is_faster(
    store: Store,
) -> None:
    _, run_id = await waiting_run(store, seconds=60)
    await store.database.of(1).fetchrow("complete_signal", "s", b"1", limits.SIGNAL_KEPT)
    await fire_deadlines(store, timedelta(seconds=60))

    step = await step_row(store.database, run_id, "gate")
    assert (step["status"], step["output"]) == ("completed", b"1")


async def test_who_completes_is_told_the_truth_where_a_timer_delivered_it(store: Store, second_store: Store) -> None:
    _, run_id = await waiting_run(store, seconds=60)
    for each in (store, second_store):
        each.database.advance(timedelta(seconds=60))
    async with locked(store.database, "SELECT 1 FROM runs FOR UPDATE") as other:
        timer = asyncio.create_task(fire_deadlines(second_store))
        await until_blocked(other)
        completing = asyncio.create_task(complete(store, 1, "s", b"1"))
        await until_blocked(other, 2)
    await timer

    assert await completing == Completion(UUID(run_id), delivered=True)


async def test_the_second_run_that_waits_for_an_id_fails_and_the_first_is_not_disturbed(store: Store) -> None:
    holder, run_id = await waiting_run(store)
    second = await begin(store)
    await holder.take()
    await holder.say(messages.awaits_signal(second, "gate", "s"))
    step = await step_row(store.database, second, "gate")
    assert step["status"] == "failed"
    assert b"SignalConflictError" in step["error"]

    assert (await complete(store, 1, "s", b"1")).run_id == UUID(run_id)


async def test_two_runs_that_begin_to_wait_at_once_are_told_apart(store: Store, second_store: Store) -> None:
    await serve(store, "f")
    runs = [await begin(store), await begin(store)]
    holders = [await Holder.connect(store), await Holder.connect(second_store)]
    for holder in holders:
        await holder.claim(count=1)
    await asyncio.gather(
        *(holder.say(messages.awaits_signal(run, "gate", "s")) for holder, run in zip(holders, runs, strict=True))
    )
    statuses = [await step_status(store.database, run, "gate") for run in runs]

    assert sorted(statuses) == ["failed", "waiting"]
    completion = await complete(store, 1, "s", b"1")
    assert completion.run_id == runs[statuses.index("waiting")]


async def test_the_same_id_serves_again_after_it_was_delivered(store: Store) -> None:
    holder, run_id = await waiting_run(store)
    await complete(store, 1, "s", b"1")
    await holder.take()
    await holder.say(messages.awaits_signal(run_id, "second gate", "s"))

    assert await complete(store, 1, "s", b"2") == Completion(UUID(run_id), delivered=True)
    assert (await step_row(store.database, run_id, "second gate"))["output"] == b"2"


async def test_a_wait_that_is_given_up_and_begun_again_under_another_step_hears_the_signal(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_signal(run_id, "gate", "s"))
    await holder.say(messages.withdrawn(run_id, "gate"), messages.awaits_signal(run_id, "second gate", "s"))

    assert (await complete(store, 1, "s", b"1")).delivered
    assert (await step_row(store.database, run_id, "second gate"))["output"] == b"1"


async def test_a_wait_that_is_begun_and_given_up_in_one_breath_leaves_the_id_free(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_signal(run_id, "gate", "s"), messages.withdrawn(run_id, "gate"))

    assert await select(store.database, "SELECT 1 FROM signals") == []
    assert await complete(store, 1, "s", b"1") == Completion(None, delivered=False)


@pytest.mark.parametrize("leave", ["gives the wait up", "ends"])
async def test_data_that_came_as_its_run_turned_away_is_kept_for_the_next(store: Store, leave: str) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_signal(run_id, "gate", "s"))
    await store.database.of(1).fetchrow("complete_signal", "s", b"1", limits.SIGNAL_KEPT)
    await holder.say(messages.withdrawn(run_id, "gate") if leave == "gives the wait up" else messages.completed(run_id))
    await rescue(store)
    second = await begin(store)
    await holder.take()
    await holder.say(messages.awaits_signal(second, "gate", "s"))

    assert (await step_row(store.database, second, "gate"))["output"] == b"1"


async def test_a_completion_is_durable_though_this_server_has_too_much_to_write(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run_id = await waiting_run(store)
    monkeypatch.setattr(limits, "COMMIT_QUEUE", 0)
    assert await complete(store, 1, "s", b"1") == Completion(UUID(run_id), delivered=True)
    monkeypatch.undo()
    store.database.advance(timedelta(seconds=1))
    await rescue(store)

    assert (await step_row(store.database, run_id, "gate"))["output"] == b"1"


async def test_a_signal_id_of_another_workspace_is_another_signal(store: Store) -> None:
    await change(store.database, "INSERT INTO workspaces (name) VALUES ('other')")
    _, run_id = await waiting_run(store)

    assert await complete(store, 2, "s", b"1") == Completion(None, delivered=False)
    assert await step_status(store.database, run_id, "gate") == "waiting"


async def test_early_data_that_is_taken_and_asked_for_again_in_one_commit_is_not_kept_for_a_third(store: Store) -> None:
    await serve(store, "f")
    runs = [await begin(store) for _ in range(3)]
    holder = await Holder.connect(store)
    await holder.claim()
    await complete(store, 1, "s", b'"early"')
    first, second, third = (messages.awaits_signal(run_id, "gate", "s") for run_id in runs)
    await holder.say(first, second, messages.withdrawn(runs[1], "gate"))
    await holder.say(third)

    statuses = [await step_status(store.database, run_id, "gate") for run_id in runs]
    assert statuses == ["completed", "cancelled", "waiting"]
