"""A cancelled run lets its step in flight finish and begins nothing more, and its children go with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from rotor import limits
from rotor.engine.arrivals import Arrival, HolderLost
from rotor.protocol.messages import CancelRun
from rotor.store.cancellation import cancel
from rotor.store.checks import CANCEL_RUN
from rotor.store.committer import Committer
from rotor.store.problems import Conflict, NotFound, Overloaded
from rotor.store.store import Store
from tests import messages
from tests.store.actors import (
    Holder,
    begin,
    dies_after_each_commit,
    fire_deadlines,
    followed,
    hold,
    match,
    rescue,
    send,
    serve,
)
from tests.store.tables import change, run_row, select, status_of, step_status, value, waits_of


async def family(store: Store) -> tuple[Holder, list[str]]:
    """A run that waits for its child, which waits for its own, which is due."""
    await serve(store, "middle", "last")
    holder, run_id = await hold(store)
    runs = [run_id]
    for function_id in ("middle", "last"):
        await holder.say(messages.invokes(runs[-1], "sub", function_id), messages.parked(runs[-1]))
        if function_id == "middle":
            runs.append((await holder.take(function_id)).run_id)
    runs.append(
        str(await value(store.database, "SELECT id FROM runs WHERE function_id = 'last' AND status = 'queued'"))
    )
    return holder, runs


async def statuses(store: Store, runs: list[str]) -> list[str]:
    return [await status_of(store.database, run) for run in runs]


async def test_a_run_that_nobody_has_begun_is_cancelled_at_once(store: Store) -> None:
    await serve(store, "f")
    run_id = await begin(store)
    await cancel(store, 1, run_id)

    row = await run_row(store.database, run_id)
    assert row["status"] == "cancelled"
    assert row["ended_at"] is not None
    assert row["cancel_requested_at"] is not None


async def test_a_run_that_waits_is_cancelled_at_once_and_its_waits_go(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(
        messages.sleeps(run_id, "nap"), messages.awaits_signal(run_id, "gate", "s"), messages.parked(run_id)
    )
    await cancel(store, 1, UUID(run_id))

    assert await status_of(store.database, run_id) == "cancelled"
    assert await waits_of(store.database, run_id) == []
    assert {await step_status(store.database, run_id, step) for step in ("nap", "gate")} == {"cancelled"}
    assert await select(store.database, "SELECT 1 FROM signals") == []


async def test_the_step_in_flight_finishes_and_nothing_later_begins(store: Store) -> None:
    await serve(store, "child")
    holder, run_id = await hold(store)
    await cancel(store, 1, UUID(run_id))
    assert holder.told[-1] == CancelRun(run_id=run_id)
    await holder.say(
        messages.done(run_id, "in flight", 1),
        messages.sleeps(run_id, "nap"),
        messages.invokes(run_id, "sub", "child"),
        messages.emitted(run_id, "tell", "told"),
        messages.awaits_signal(run_id, "gate", "s"),
    )
    assert await status_of(store.database, run_id) == "running"
    await holder.say(messages.stopped(run_id))

    assert await status_of(store.database, run_id) == "cancelled"
    steps = await select(store.database, "SELECT id, status FROM steps")
    assert [tuple(row) for row in steps] == [("in flight", "completed")]
    assert await value(store.database, "SELECT count(*) FROM runs") == 1
    assert await value(store.database, "SELECT count(*) FROM events") == 1


async def test_a_holder_over_http_learns_of_it_with_its_next_checkpoint(store: Store) -> None:
    holder, run_id = await hold(store)
    store.holders.remove(holder.lease_id)
    await cancel(store, 1, UUID(run_id))

    assert CancelRun(run_id=run_id) in await holder.say(messages.done(run_id, "a"))


async def test_a_cancelling_run_whose_holder_dies_is_cancelled(store: Store) -> None:
    holder, run_id = await hold(store)
    await cancel(store, 1, UUID(run_id))
    await store.committer.submit(HolderLost(UUID(run_id), holder.lease_id))

    assert await status_of(store.database, run_id) == "cancelled"


async def test_asking_again_while_the_holder_stops_is_no_error(store: Store) -> None:
    _, run_id = await hold(store)
    await cancel(store, 1, UUID(run_id))
    await cancel(store, 1, UUID(run_id))

    assert await status_of(store.database, run_id) == "running"


async def test_an_unknown_run_and_one_of_another_workspace_are_not_found(store: Store) -> None:
    _, run_id = await hold(store)
    for workspace_id, wanted in ((1, uuid4()), (2, UUID(run_id))):
        with pytest.raises(NotFound):
            await cancel(store, workspace_id, wanted)

    assert not (await run_row(store.database, run_id))["cancel_requested_at"]


@pytest.mark.parametrize("end", [messages.completed, lambda run: messages.body_failed(run, retries=0)])
async def test_a_run_that_has_ended_is_a_conflict(store: Store, end: object) -> None:
    holder, run_id = await hold(store)
    await holder.say(end(run_id))  # type: ignore[operator]
    before = await run_row(store.database, run_id)
    with pytest.raises(Conflict, match="ended already"):
        await cancel(store, 1, UUID(run_id))

    assert await run_row(store.database, run_id) == before


# --- children


async def test_children_are_cancelled_down_the_tree(store: Store) -> None:
    _, runs = await family(store)
    await cancel(store, 1, UUID(runs[0]))
    await followed(store)

    assert await statuses(store, runs) == ["cancelled"] * 3


async def test_children_are_cancelled_a_batch_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await serve(store, "child")
    holder, run_id = await hold(store)
    await holder.say(*(messages.invokes(run_id, f"sub {number}", "child") for number in range(5)))
    monkeypatch.setattr(limits, "BATCH", 2)
    batches: list[int] = []
    submit_all = store.committer.submit_all

    async def counted(arrivals: Sequence[Arrival]) -> list[bool]:
        if arrivals:
            batches.append(len(arrivals))
        return await submit_all(arrivals)

    monkeypatch.setattr(Committer, "submit_all", lambda _, arrivals: counted(arrivals))
    await cancel(store, 1, UUID(run_id))
    await followed(store)

    assert batches == [2, 2, 1]
    assert await value(store.database, "SELECT count(*) FROM runs WHERE status = 'cancelled'") == 5


async def test_the_children_of_a_run_that_is_still_held_are_cancelled_meanwhile(store: Store) -> None:
    await serve(store, "child")
    holder, run_id = await hold(store)
    await holder.say(messages.invokes(run_id, "sub", "child"))
    child = (await holder.take("child")).run_id
    await cancel(store, 1, UUID(run_id))
    await followed(store)
    assert CancelRun(run_id=child) in holder.told
    await holder.say(messages.stopped(child))

    assert await status_of(store.database, child) == "cancelled"
    assert await status_of(store.database, run_id) == "running"


async def test_a_parent_hears_that_its_child_was_cancelled(store: Store) -> None:
    holder, runs = await family(store)
    await cancel(store, 1, UUID(runs[1]))
    await followed(store)
    start = await holder.take()

    assert await statuses(store, runs) == ["running", "cancelled", "cancelled"]
    (memo,) = start.memo
    assert memo.status == "failed"
    assert memo.error is not None
    assert memo.error.name == "WorkflowCancelledError"


async def test_children_whose_server_died_before_it_could_cancel_them_are_found(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, runs = await family(store)
    dies_after_each_commit(monkeypatch)
    await cancel(store, 1, UUID(runs[0]))
    assert await statuses(store, runs) == ["cancelled", "waiting", "queued"]
    await rescue(store)
    await rescue(store)

    assert await statuses(store, runs) == ["cancelled"] * 3


async def test_children_are_found_while_their_parent_has_still_a_step_in_flight(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await serve(store, "child")
    holder, run_id = await hold(store)
    await holder.say(messages.invokes(run_id, "sub", "child"))
    child = await value(store.database, "SELECT id FROM runs WHERE parent_run_id = $1", UUID(run_id))
    dies_after_each_commit(monkeypatch)
    await cancel(store, 1, UUID(run_id))
    await rescue(store)

    assert await statuses(store, [run_id, child]) == ["running", "cancelled"]


@pytest.mark.parametrize("how", ["times out", "is given up"])
async def test_the_child_of_a_step_that_waits_no_longer_is_cancelled(
    store: Store, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    await serve(store, "child")
    for server_dies in (False, True):
        holder, run_id = await hold(store)
        await holder.say(messages.invokes(run_id, "sub", "child", seconds=60))
        child: UUID = await value(store.database, "SELECT id FROM runs WHERE parent_run_id = $1", UUID(run_id))
        if server_dies:
            dies_after_each_commit(monkeypatch)
        if how == "times out":
            await fire_deadlines(store, timedelta(seconds=60))
        else:
            await holder.say(messages.withdrawn(run_id, "sub"))
        await followed(store)
        assert await status_of(store.database, child) == ("queued" if server_dies else "cancelled")
        await holder.say(messages.completed(run_id))
        await rescue(store)

        assert await status_of(store.database, child) == "cancelled"


async def test_a_child_goes_on_where_its_parent_ends_without_waiting_for_it(store: Store) -> None:
    await serve(store, "child")
    holder, run_id = await hold(store)
    await holder.say(messages.invokes(run_id, "sub", "child"), messages.completed(run_id))
    await followed(store)
    await rescue(store)
    child = await holder.take("child")
    await holder.say(messages.completed(child.run_id))

    assert await status_of(store.database, child.run_id) == "completed"


async def test_a_cancellation_that_was_asked_for_and_not_carried_out_is_taken_up(store: Store) -> None:
    await serve(store, "f")
    run_id = await begin(store)
    await change(store.database, "UPDATE runs SET cancel_requested_at = rotor_now()")
    await rescue(store)

    assert await status_of(store.database, run_id) == "cancelled"


# --- by event


async def test_an_event_cancels_a_run(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.sleeps(run_id, "nap"), messages.parked(run_id))
    await send(store, CANCEL_RUN, {"runId": run_id})
    await match(store)

    assert await status_of(store.database, run_id) == "cancelled"


@pytest.mark.parametrize(
    "data", [{"runId": str(uuid4())}, {"runId": "run-abc-123"}, {}, None, [1], {"run_id": str(uuid4())}]
)
async def test_an_event_that_names_no_run_cancels_nothing_and_holds_nothing_up(store: Store, data: object) -> None:
    _, run_id = await hold(store)
    await send(store, CANCEL_RUN, data)
    await match(store)

    assert await status_of(store.database, run_id) == "running"
    assert await select(store.database, "SELECT 1 FROM deliveries") == []


async def test_an_event_cancels_no_run_of_another_workspace(store: Store) -> None:
    await change(store.database, "INSERT INTO workspaces (name) VALUES ('other')")
    _, run_id = await hold(store)
    await send(store, CANCEL_RUN, {"runId": run_id}, workspace_id=2)
    await match(store)

    assert not (await run_row(store.database, run_id))["cancel_requested_at"]


async def test_an_event_that_could_not_be_carried_out_for_lack_of_room_is_taken_up_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.sleeps(run_id, "nap"), messages.parked(run_id))
    await send(store, CANCEL_RUN, {"runId": run_id})
    monkeypatch.setattr(limits, "COMMIT_QUEUE", 0)
    with pytest.raises(Overloaded):
        await match(store)
    monkeypatch.undo()
    store.database.advance(timedelta(seconds=15))
    await match(store)

    assert await status_of(store.database, run_id) == "cancelled"
