"""A due run is claimed by one holder, with all that it needs to go on."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from rotor import limits
from rotor.protocol.messages import ResumeRun, StartRun
from rotor.store import functions, leases, runs
from rotor.store.claims import claim_invocations
from rotor.store.statements import workspace_statement
from rotor.store.store import Store
from tests import messages
from tests.store.actors import Holder, begin, fire_deadlines, hold, serve
from tests.store.tables import change, locked, run_row, status_of, until_blocked, value


def memo(start: StartRun | ResumeRun) -> list[tuple[str, str]]:
    return [(one.id, one.status) for one in start.memo]


async def test_a_fresh_run_comes_with_its_event_and_no_memo(store: Store) -> None:
    await serve(store, "f")
    run_id = await begin(store, "f", {"n": 1})
    holder = await Holder.connect(store)
    start = await holder.take()

    assert (start.run_id, start.lease_id, start.attempt, start.memo) == (str(run_id), str(holder.lease_id), 0, [])
    assert (start.event.name, bytes(start.event.data)) == ("start f", b'{"n":1}')
    row = await run_row(store.database, run_id)
    assert (row["status"], row["lease_id"]) == ("running", holder.lease_id)
    assert row["started_at"] is not None


async def test_the_oldest_run_of_a_function_comes_first(store: Store) -> None:
    await serve(store, "f")
    runs = [await begin(store) for _ in range(4)]
    holder = await Holder.connect(store)

    assert [(await holder.claim(count=1))[0].run_id for _ in runs] == [str(run) for run in runs]


async def test_functions_are_served_in_the_order_that_is_asked_for(store: Store) -> None:
    """So that whoever asks can let each have its turn, though one of them always has more than enough."""
    await serve(store, "a", "b")
    for function in ("a", "b", "a", "b"):
        await begin(store, function)
    holder = await Holder.connect(store)
    first = await holder.claim("b", "a", count=2)
    second = await holder.claim("a", "b", count=2)

    assert [start.function_id for start in first] == ["b", "b"]
    assert [start.function_id for start in second] == ["a", "a"]


async def test_two_claimers_never_take_the_same_run(store: Store, second_store: Store) -> None:
    await serve(store, "f")
    runs = {str(await begin(store)) for _ in range(60)}
    holders = [await Holder.connect(store), await Holder.connect(second_store)]
    claimed: list[str] = []

    async def claim_all(holder: Holder) -> None:
        while starts := await holder.claim(count=4):
            claimed.extend(start.run_id for start in starts)

    await asyncio.gather(*(claim_all(holder) for holder in holders * 2))

    assert len(claimed) == 60
    assert set(claimed) == runs


async def test_a_run_that_another_transaction_has_is_passed_over(store: Store) -> None:
    await serve(store, "f")
    first, second = await begin(store), await begin(store)
    holder = await Holder.connect(store)
    async with locked(store.database, "SELECT 1 FROM runs WHERE id = $1 FOR UPDATE", first):
        assert [start.run_id for start in await holder.claim()] == [str(second)]


async def test_a_paused_function_starts_nothing_until_it_is_resumed(store: Store) -> None:
    await serve(store, "f")
    run_id = await begin(store)
    holder = await Holder.connect(store)
    await functions.pause(store.database, 1, "f")
    assert await holder.claim() == []
    await functions.resume(store.database, 1, "f")

    assert (await holder.take()).run_id == str(run_id)


async def test_what_is_served_over_http_is_for_no_worker_and_what_a_worker_serves_for_no_post(store: Store) -> None:
    await serve(store, "worked")
    await serve(store, "served", serve_url="https://app.example.com/api/rotor")
    worked, served = await begin(store, "worked"), await begin(store, "served")
    holder = await Holder.connect(store)
    invocations = await claim_invocations(store.database, count=10)

    assert [start.run_id for start in await holder.claim("worked", "served")] == [str(worked)]
    assert [invocation.start.run_id for invocation in invocations] == [str(served)]


async def test_each_invocation_has_a_lease_of_its_own(store: Store) -> None:
    await serve(store, "f", serve_url="https://app.example.com/api/rotor")
    for _ in range(3):
        await begin(store)
    claimed = await claim_invocations(store.database, count=2)

    assert len({invocation.lease_id for invocation in claimed}) == 2
    for invocation in claimed:
        assert invocation.serve_url == "https://app.example.com/api/rotor"
        row = await run_row(store.database, invocation.start.run_id)
        assert row["lease_id"] == invocation.lease_id
    assert len(await claim_invocations(store.database, count=2)) == 1


async def test_a_claim_that_has_to_wait_takes_nothing_of_a_function_that_is_paused_meanwhile(store: Store) -> None:
    await serve(store, "f")
    holder = await Holder.connect(store)
    await begin(store)
    async with locked(store.database, "SELECT 1 FROM leases WHERE id = $1 FOR NO KEY UPDATE", holder.lease_id) as other:
        claiming = asyncio.create_task(holder.claim())
        await until_blocked(other)
        await functions.pause(store.database, 1, "f")

    assert await claiming == []


async def test_a_paused_function_is_not_invoked(store: Store) -> None:
    await serve(store, "f", serve_url="https://app.example.com/api/rotor")
    await begin(store)
    await functions.pause(store.database, 1, "f")

    assert await claim_invocations(store.database, count=1) == []


async def test_a_pause_is_answered_once_what_is_just_being_invoked_is(store: Store) -> None:
    await serve(store, "f", serve_url="https://app.example.com/api/rotor")
    await begin(store)
    async with store.database.transaction() as claiming:
        claimed = await claiming.fetch("claim_invocations", 1, limits.LEASE, limits.VERSIONS_PER_RUN, [], [], [])
        pausing = asyncio.create_task(functions.pause(store.database, 1, "f"))
        await until_blocked(claiming.raw)
    assert (len(claimed), (await pausing).paused_at is None) == (1, False)


async def test_nothing_is_invoked_of_a_function_that_is_just_being_paused(store: Store) -> None:
    await serve(store, "f", serve_url="https://app.example.com/api/rotor")
    await begin(store)
    async with locked(store.database, workspace_statement("pause_function"), 1, "f", True) as pausing:
        claiming = asyncio.create_task(claim_invocations(store.database, count=1))
        await until_blocked(pausing)

    assert await claiming == []
    assert await value(store.database, "SELECT count(*) FROM leases") == 0


async def test_a_function_with_many_due_runs_does_not_keep_the_invocations_of_others_waiting(store: Store) -> None:
    await change(store.database, "INSERT INTO workspaces (name) VALUES ('other')")
    await serve(store, "busy", serve_url="https://app.example.com/api/rotor")
    await serve(store, "quiet", serve_url="https://other.example.com/api/rotor", workspace_id=2)
    for _ in range(40):
        await begin(store, "busy")
    await begin(store, "quiet", workspace_id=2)
    claimed = [(await claim_invocations(store.database, count=1))[0].start.function_id for _ in range(30)]

    assert "quiet" in claimed


async def test_who_has_its_share_of_invocations_is_passed_over(store: Store) -> None:
    await change(store.database, "INSERT INTO workspaces (name) VALUES ('other')")
    for workspace_id in (1, 2):
        for function_id in ("busy", "quiet"):
            await serve(store, function_id, serve_url="https://app.example.com/api/rotor", workspace_id=workspace_id)
            await begin(store, function_id, workspace_id=workspace_id)
    claimed = await claim_invocations(store.database, count=10, not_of=[2], not_for=[(1, "busy"), (2, "quiet")])

    assert [(one.workspace_id, one.start.function_id) for one in claimed] == [(1, "quiet")]
    assert len(await claim_invocations(store.database, count=10)) == 3


async def test_a_run_that_is_due_later_is_not_claimed(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.body_failed(run_id, retry_after_seconds=60))
    assert await holder.claim() == []
    store.database.advance(timedelta(seconds=60))

    assert (await holder.take()).attempt == 1


async def test_nothing_is_claimed_on_a_lease_that_ran_out(store: Store) -> None:
    await serve(store, "f")
    await begin(store)
    holder = await Holder.connect(store, lasting=False)
    store.database.advance(timedelta(minutes=1))

    assert await holder.claim() == []


async def test_nothing_is_claimed_for_a_connection_whose_worker_has_come_back_on_another(store: Store) -> None:
    await serve(store, "f")
    await begin(store)
    holder = await Holder.connect(store)
    holder.connection = (await leases.resume(store.database, 1, holder.lease_id)) or 0
    earlier = Holder(store, holder.lease_id)

    assert await earlier.claim() == []
    assert len(await holder.claim()) == 1


async def test_runs_of_another_workspace_are_not_claimed(store: Store) -> None:
    await change(store.database, "INSERT INTO workspaces (name) VALUES ('other')")
    await serve(store, "f")
    await serve(store, "f", workspace_id=2)
    await begin(store)
    holder = await Holder.connect(store, workspace_id=2)

    assert await holder.claim() == []


async def test_a_run_whose_cancellation_was_asked_for_is_not_begun(store: Store) -> None:
    await serve(store, "f")
    run_id = await begin(store)
    await change(store.database, "UPDATE runs SET cancel_requested_at = rotor_now()")
    holder = await Holder.connect(store)

    assert await holder.claim() == []
    assert await status_of(store.database, run_id) == "queued"


async def test_a_holder_that_keeps_the_body_gets_the_changes_alone(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.done(run_id, "a"), messages.sleeps(run_id, "nap", 60))
    await holder.say(messages.sleeps(run_id, "long nap", 600), messages.parked(run_id, kept=True))
    await fire_deadlines(store, timedelta(seconds=60))
    resume = await holder.take()

    assert isinstance(resume, ResumeRun)
    assert (memo(resume), resume.settled) == ([("nap", "completed")], 1)


async def test_another_holder_gets_the_whole_memo(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.done(run_id, "a"), messages.sleeps(run_id, "nap", 60), messages.parked(run_id, kept=True))
    await fire_deadlines(store, timedelta(seconds=60))
    start = await (await Holder.connect(store)).take()

    assert isinstance(start, StartRun)
    assert memo(start) == [("a", "completed"), ("nap", "completed")]


async def test_a_body_that_was_kept_for_one_parking_is_not_resumed_after_the_next(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.sleeps(run_id, "nap", 60), messages.parked(run_id, kept=True))
    await fire_deadlines(store, timedelta(seconds=60))
    await holder.take()
    await holder.say(messages.sleeps(run_id, "second nap", 60), messages.parked(run_id, settled=1, kept=False))
    await fire_deadlines(store, timedelta(seconds=60))
    start = await holder.take()

    assert isinstance(start, StartRun)
    assert memo(start) == [("nap", "completed"), ("second nap", "completed")]


async def test_the_memo_is_in_the_order_of_the_commits(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_signal(run_id, "c", "s", seconds=60))
    await holder.say(messages.done(run_id, "b"), messages.done(run_id, "a"))
    await fire_deadlines(store, timedelta(seconds=60))
    await holder.say(messages.done(run_id, "a"), messages.done(run_id, "a", index=1))
    await holder.say(messages.released(run_id))
    start = await holder.take()

    assert [(one.id, one.index) for one in start.memo] == [("b", 0), ("a", 0), ("c", 0), ("a", 1)]
    groups = [one.group for one in start.memo]
    assert groups[0] == groups[1] < groups[2] < groups[3]


async def test_a_step_in_its_backoff_is_told_as_waiting_and_after_it_as_one_to_try(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.failed(run_id, "flaky", retry_after_seconds=60), messages.released(run_id))
    start = await holder.take()
    assert [(one.status, one.attempts) for one in start.memo] == [("waiting", 1)]
    await fire_deadlines(store, timedelta(seconds=60))
    await holder.say(messages.released(run_id))
    start = await holder.take()

    assert [(one.status, one.attempts) for one in start.memo] == [("retrying", 1)]


async def test_a_memo_has_what_each_kind_of_step_left(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(
        messages.failed(run_id, "broken", retries=0),
        messages.emitted(run_id, "tell", "told", event_id="e-1"),
        messages.sleeps(run_id, "given up"),
        messages.withdrawn(run_id, "given up"),
        messages.started(run_id, "begun"),
        messages.released(run_id),
    )
    start = await holder.take()

    assert memo(start) == [("broken", "failed"), ("tell", "completed"), ("given up", "cancelled"), ("begun", "running")]
    assert start.memo[0].error == messages.ERROR
    assert bytes(start.memo[1].output) == b'"e-1"'


async def test_held_runs_are_known_by_their_lease(store: Store) -> None:
    holder, run_id = await hold(store)

    assert await leases.held_runs(store.database, holder.lease_id) == {UUID(run_id): 0}


async def test_a_run_remembers_which_code_it_had_when(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "VERSIONS_PER_RUN", 2)
    await serve(store, "f")
    run_id = await begin(store)
    for place, version in enumerate(["1", "1", "", "2", "3"]):
        holder = await Holder.connect(store)
        await change(store.database, "UPDATE leases SET version = $1 WHERE id = $2", version, holder.lease_id)
        await holder.take()
        await holder.say(messages.done(run_id, f"step {place}"), messages.sleeps(run_id, f"nap {place}"))
        await holder.say(messages.parked(run_id, place))
        await fire_deadlines(store, timedelta(seconds=60))

    row = await run_row(store.database, run_id)
    assert row["versions"] == ["2", "3"]
    shown = await runs.get(store.database, 1, run_id)
    # What is older than the earliest version that is remembered shows none.
    assert {step.id: step.version for step in shown.steps if step.id.startswith("step")} == {
        "step 0": None,
        "step 1": None,
        "step 2": None,
        "step 3": "2",
        "step 4": "3",
    }
    # A wait shows the code that began it, though another went on after it.
    assert {step.version for step in shown.steps if step.id == "nap 3"} == {"2"}
