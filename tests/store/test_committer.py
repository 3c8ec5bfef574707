"""What a holder says is written once, in groups, and told to whoever has to know."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from rotor import limits
from rotor.engine.arrivals import Cancelled, DeadlineReached, FromHolder, HolderLost
from rotor.engine.run import StepKey
from rotor.protocol.messages import (
    CancelRun,
    Committed,
    DropRun,
    HolderMessage,
    Refused,
    RunCompleted,
    RunMessage,
    Settled,
    StartRun,
    StepDone,
)
from rotor.store import leases
from rotor.store.cancellation import cancel
from rotor.store.claims import ClaimedInvocation, claim_invocations
from rotor.store.committer import NONE, Exchange
from rotor.store.problems import Overloaded
from rotor.store.progress import divide, write_progress
from rotor.store.store import Store
from tests import messages
from tests.store.actors import Holder, acknowledged, begin, fire_deadlines, hold, serve
from tests.store.tables import (
    change,
    locked,
    run_row,
    select,
    status_of,
    step_row,
    step_status,
    until_blocked,
    value,
    waits_of,
)


async def test_what_is_acknowledged_is_durable(store: Store) -> None:
    holder, run_id = await hold(store)
    message = messages.done(run_id, "a", {"n": 1}, attempts=2)

    assert acknowledged(await holder.say(message)) == [message.n]
    step = await step_row(store.database, run_id, "a")
    assert (step["op"], step["status"], step["attempts"], step["output"]) == ("run", "completed", 2, b'{"n":1}')
    assert step["ended_at"] is not None


async def test_steps_of_many_runs_go_into_one_commit(store: Store) -> None:
    await serve(store, "f")
    runs = [await begin(store) for _ in range(5)]
    holder = await Holder.connect(store)
    await holder.claim()
    async with locked(store.database, "SELECT 1 FROM leases FOR UPDATE") as other:
        first = asyncio.create_task(holder.say(messages.done(runs[0], "a")))
        await until_blocked(other)
        rest = [asyncio.create_task(holder.say(messages.done(run, "a"))) for run in runs[1:]]
        await asyncio.sleep(0)
    await asyncio.gather(first, *rest)

    groups = await select(store.database, "SELECT settled_group, count(*) FROM steps GROUP BY 1 ORDER BY 1")
    assert [row["count"] for row in groups] == [1, 4]


async def test_a_message_that_is_sent_again_changes_nothing(store: Store) -> None:
    await serve(store, "child")
    holder, run_id = await hold(store)
    said = [
        messages.done(run_id, "a", 1),
        messages.failed(run_id, "b"),
        messages.failed(run_id, "c", retries=0),
        messages.sleeps(run_id, "nap"),
        messages.awaits_event(run_id, "event", "opened"),
        messages.awaits_signal(run_id, "gate", "s"),
        messages.invokes(run_id, "sub", "child"),
        messages.invokes(run_id, "nobody", "unknown"),
        messages.emitted(run_id, "tell", "told"),
        messages.withdrawn(run_id, "nap"),
    ]
    answers = [await holder.say(*said), await holder.say(*said)]
    tables = ("steps", "waits", "events", "signals", "deliveries")
    before = [await value(store.database, f"SELECT count(*) FROM {table}") for table in tables]
    answers += [await holder.say(message) for message in said]

    assert [await value(store.database, f"SELECT count(*) FROM {table}") for table in tables] == before
    assert acknowledged(answers[0]) == sorted(acknowledged(answers[1])) == [message.n for message in said]
    assert sorted(number for answer in answers[2:] for number in acknowledged(answer)) == acknowledged(answers[0])
    assert await value(store.database, "SELECT count(*) FROM runs WHERE parent_run_id = $1", UUID(run_id)) == 1
    # The one that failed for good is told each time: its holder waits for that.
    assert all("c" in [memo.id for part in answer if isinstance(part, Settled) for memo in part.memo]
               for answer in (answers[0], answers[1], answers[4]))  # fmt: skip


async def test_a_result_never_changes(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.done(run_id, "a", 1))
    await holder.say(messages.done(run_id, "a", 2), messages.failed(run_id, "a"), messages.withdrawn(run_id, "a"))

    step = await step_row(store.database, run_id, "a")
    assert (step["status"], step["output"]) == ("completed", b"1")


async def test_a_holder_that_lost_its_lease_writes_nothing(store: Store) -> None:
    holder, run_id = await hold(store)
    await store.committer.submit(HolderLost(UUID(run_id), holder.lease_id))
    second = await Holder.connect(store)
    await second.take()
    answer = await holder.say(messages.done(run_id, "a"), messages.completed(run_id))

    assert [type(message) for message in answer] == [DropRun]
    assert (await run_row(store.database, run_id))["lease_id"] == second.lease_id
    assert await select(store.database, "SELECT 1 FROM steps") == []


async def test_a_message_that_cannot_be_written_is_refused_alone(store: Store) -> None:
    holder, run_id = await hold(store)
    good, bad, after = messages.done(run_id, "a"), messages.done(run_id, "\0"), messages.done(run_id, "b")
    answer = await holder.say(good, bad, after)

    assert acknowledged(answer) == [good.n, after.n]
    assert [message.n for message in answer if isinstance(message, Refused)] == [bad.n]


async def test_a_connected_holder_is_told_of_a_message_that_cannot_be_written(store: Store) -> None:
    holder, run_id = await hold(store)
    bad = messages.done(run_id, "\0")
    store.committer.put(1, holder.lease_id, bad, connection=1)
    await holder.say(messages.done(run_id, "a"))

    assert [message.n for message in holder.told if isinstance(message, Refused)] == [bad.n]


async def test_a_run_does_not_park_where_its_only_wait_was_refused(store: Store) -> None:
    holder, run_id = await hold(store)
    answer = await holder.say(messages.sleeps(run_id, "\0"), messages.parked(run_id))

    assert [type(message) for message in answer] == [Refused]
    assert await status_of(store.database, run_id) == "running"


async def test_messages_of_one_run_are_written_all_or_none_where_the_queue_is_full(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, run_id = await hold(store)
    monkeypatch.setattr(limits, "COMMIT_QUEUE", 0)
    with pytest.raises(Overloaded, match="COMMIT_QUEUE"):
        await holder.say(messages.done(run_id, "a"), messages.completed(run_id))
    monkeypatch.undo()
    await holder.say(messages.done(run_id, "b"))

    assert await status_of(store.database, run_id) == "running"
    assert [row["id"] for row in await select(store.database, "SELECT id FROM steps")] == ["b"]


async def test_a_write_outlives_the_loss_of_its_connection(store: Store) -> None:
    holder, run_id = await hold(store)
    message = messages.done(run_id, "a")
    async with locked(store.database, "SELECT 1 FROM leases FOR UPDATE") as other:
        saying = asyncio.create_task(holder.say(message))
        (blocked,) = await until_blocked(other)
        await other.execute("SELECT pg_terminate_backend($1)", blocked)

    assert acknowledged(await saying) == [message.n]


async def test_a_deadline_wakes_a_parked_run_and_its_next_holder_knows(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.done(run_id, "a", 1), messages.sleeps(run_id, "nap", 600), messages.parked(run_id))
    await fire_deadlines(store, timedelta(seconds=500))
    assert await status_of(store.database, run_id) == "waiting"
    await fire_deadlines(store, timedelta(seconds=100))
    start = await holder.take()

    assert [(memo.id, memo.status) for memo in start.memo] == [("a", "completed"), ("nap", "completed")]
    assert start.settled == 1
    await holder.say(messages.completed(run_id))


async def test_the_holder_of_a_run_is_told_of_a_deadline(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.sleeps(run_id, "nap", 60))
    await fire_deadlines(store, timedelta(seconds=60))

    assert holder.told[-1] == Settled(run_id=run_id, memo=holder.told[-1].memo, settled=1)  # type: ignore[union-attr]
    assert holder.settled(run_id) == ["nap"]


async def test_a_parking_that_crosses_a_deadline_is_not_taken(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.sleeps(run_id, "nap", 60))
    await fire_deadlines(store, timedelta(seconds=60))

    assert await holder.say(messages.parked(run_id, settled=0)) == []
    assert await status_of(store.database, run_id) == "running"
    await holder.say(messages.sleeps(run_id, "second nap", 60), messages.parked(run_id, settled=1))
    assert await status_of(store.database, run_id) == "waiting"


async def test_what_another_server_settled_is_told_with_the_next_commit(store: Store, second_store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.sleeps(run_id, "nap", 60), messages.failed(run_id, "flaky"))
    second_store.database.advance(timedelta(seconds=60))
    await fire_deadlines(second_store)
    assert holder.settled(run_id) == []
    holder.told.clear()
    message = messages.done(run_id, "a")
    await holder.say(message)

    assert holder.told[0] == Committed(runs={run_id: [message.n]}, group=holder.told[0].group)  # type: ignore[union-attr]
    assert sorted(holder.settled(run_id)) == ["flaky", "nap"]
    assert isinstance(holder.told[1], Settled)
    assert holder.told[1].settled == 2


async def test_a_backoff_that_still_runs_is_no_news(store: Store, second_store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.sleeps(run_id, "nap", 1), messages.failed(run_id, "flaky", retry_after_seconds=60))
    second_store.database.advance(timedelta(seconds=30))
    store.database.advance(timedelta(seconds=90))  # whatever this server's clock may make of it
    await fire_deadlines(second_store)
    await holder.say(messages.done(run_id, "a"))

    assert holder.settled(run_id) == ["nap"]


async def test_a_holder_that_came_back_is_told_everything_once(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.sleeps(run_id, "nap", 60))
    await fire_deadlines(store, timedelta(seconds=60))
    holder.told.clear()
    store.holders.expect(holder.lease_id, UUID(run_id))
    await holder.say(messages.done(run_id, "a"))
    assert holder.settled(run_id) == ["nap"]
    await holder.say(messages.done(run_id, "b"))
    assert holder.settled(run_id) == ["nap"]


async def test_a_holder_that_came_back_learns_the_count_where_there_is_no_news(store: Store) -> None:
    holder, run_id = await hold(store)
    store.holders.expect(holder.lease_id, UUID(run_id))
    holder.told.clear()
    await holder.say(messages.done(run_id, "a"))

    assert holder.told[-1] == Settled(run_id=run_id, memo=[], settled=0)
    assert store.holders.told(holder.lease_id, UUID(run_id)) == 0


async def test_the_end_of_a_run_closes_all_that_it_left_open(store: Store) -> None:
    await serve(store, "child")
    holder, run_id = await hold(store)
    await holder.say(
        messages.started(run_id, "runs"),
        messages.failed(run_id, "retries"),
        messages.sleeps(run_id, "nap"),
        messages.awaits_signal(run_id, "gate", "s"),
        messages.done(run_id, "done"),
    )
    await holder.say(messages.completed(run_id, "out"))

    run = await run_row(store.database, run_id)
    assert (run["status"], run["output"], run["lease_id"]) == ("completed", b'"out"', None)
    statuses = {row["id"]: row["status"] for row in await select(store.database, "SELECT id, status FROM steps")}
    assert statuses == {
        "runs": "cancelled",
        "retries": "cancelled",
        "nap": "cancelled",
        "gate": "cancelled",
        "done": "completed",
    }
    assert await waits_of(store.database, run_id) == []
    assert await select(store.database, "SELECT 1 FROM signals") == []


async def test_a_run_whose_holder_reports_a_step_that_still_waits_takes_the_wait_along(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.failed(run_id, "a"))
    await holder.say(messages.done(run_id, "a"))
    await holder.say(messages.completed(run_id, "out"))

    assert await status_of(store.database, run_id) == "completed"
    assert await waits_of(store.database, run_id) == []


async def test_a_child_and_the_step_that_waits_for_it_are_one_fact_and_its_end_wakes_its_parent(store: Store) -> None:
    await serve(store, "child")
    holder, run_id = await hold(store)
    await holder.say(messages.invokes(run_id, "sub", "child", {"a": 1}), messages.parked(run_id))
    child = await holder.take("child")
    row = await run_row(store.database, child.run_id)
    assert (str(row["parent_run_id"]), row["parent_step_id"], row["depth"]) == (run_id, "sub", 1)
    assert bytes(child.event.data) == b'{"a":1}'
    await holder.say(messages.completed(child.run_id, "out"))
    start = await holder.take()

    (memo,) = start.memo
    assert (memo.status, bytes(memo.output), memo.child_run_id) == ("completed", b'"out"', child.run_id)


async def test_a_body_that_raised_is_due_after_its_backoff(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.body_failed(run_id, retry_after_seconds=30))
    assert await holder.claim() == []
    store.database.advance(timedelta(seconds=30))
    start = await holder.take()

    assert start.attempt == 1
    assert isinstance(start, StartRun)


async def test_a_body_that_raised_for_good_fails_its_run_with_its_error(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.body_failed(run_id, retries=0))

    run = await run_row(store.database, run_id)
    assert (run["status"], run["attempt"]) == ("failed", 1)
    assert b"ValueError" in run["error"]


async def test_a_deadline_of_an_earlier_backoff_does_not_cut_the_next_one_short(store: Store) -> None:
    holder, run_id = await hold(store)
    key = StepKey(UUID(run_id), "flaky", 0)
    await holder.say(messages.failed(run_id, "flaky", retry_after_seconds=1))
    await fire_deadlines(store, timedelta(seconds=1))
    await holder.say(messages.failed(run_id, "flaky", attempts=2, retry_after_seconds=60))

    # A timer of another server that had read the first deadline comes late.
    assert not await store.committer.submit(DeadlineReached(key))
    assert await waits_of(store.database, run_id) == ["flaky"]


async def test_unknown_runs_and_waits_are_nothing_to_do(store: Store) -> None:
    assert await store.committer.submit_all([Cancelled(uuid4()), DeadlineReached(StepKey(uuid4(), "a", 0))]) == [
        False,
        False,
    ]


async def test_a_room_is_waited_for_by_those_who_can_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _, run_id = await hold(store)
    monkeypatch.setattr(limits, "COMMIT_QUEUE", 1)
    arrivals = [Cancelled(UUID(run_id)) for _ in range(5)]
    results = await asyncio.gather(*(store.committer.submit_all([arrival]) for arrival in arrivals))

    assert results == [[True]] * 5


async def test_a_step_that_ran_says_how_long(store: Store) -> None:
    holder, run_id = await hold(store)
    message = messages.done(run_id, "a")
    await holder.say(type(message)(run_id=run_id, n=message.n, id="a", index=0, op="run", elapsed_ms=1500))

    step = await step_row(store.database, run_id, "a")
    assert step["ended_at"] - step["started_at"] == timedelta(seconds=1.5)


async def test_a_try_keeps_the_error_of_the_one_before(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.failed(run_id, "flaky", retry_after_seconds=1))
    await fire_deadlines(store, timedelta(seconds=1))
    assert b"ValueError" in (await step_row(store.database, run_id, "flaky"))["error"]
    await holder.say(messages.done(run_id, "flaky", attempts=2))

    step = await step_row(store.database, run_id, "flaky")
    assert (step["status"], step["attempts"], step["error"]) == ("completed", 2, None)


async def test_the_runs_of_a_workspace_are_out_of_anothers_reach(store: Store) -> None:
    _, run_id = await hold(store)
    await change(store.database, "INSERT INTO workspaces (name) VALUES ('other')")
    intruder = await Holder.connect(store, workspace_id=2)
    answer = await intruder.say(messages.done(run_id, "a"), messages.completed(run_id))

    assert [type(message) for message in answer] == [DropRun]
    assert await status_of(store.database, run_id) == "running"


async def test_a_child_of_another_workspaces_function_is_unknown(store: Store) -> None:
    await change(store.database, "INSERT INTO workspaces (name) VALUES ('other')")
    await serve(store, "theirs", workspace_id=2)
    holder, run_id = await hold(store)
    await holder.say(messages.invokes(run_id, "sub", "theirs"))

    assert await step_status(store.database, run_id, "sub") == "failed"


async def test_results_of_a_run_that_waits_for_nothing_lock_no_run(store: Store) -> None:
    holder, run_id = await hold(store)
    async with locked(store.database, "SELECT 1 FROM runs FOR NO KEY UPDATE"):
        assert acknowledged(await holder.say(messages.done(run_id, "a"))) != []


async def test_results_of_a_run_that_others_may_wake_come_after_those_wakings(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.sleeps(run_id, "nap", 60))
    async with locked(store.database, "SELECT 1 FROM runs FOR NO KEY UPDATE") as other:
        saying = asyncio.create_task(holder.say(messages.done(run_id, "a")))
        await until_blocked(other)
    assert acknowledged(await saying) != []


async def test_one_step_twice_in_one_batch_is_recorded_once_and_acknowledged_twice(store: Store) -> None:
    holder, run_id = await hold(store)
    first, second = messages.done(run_id, "a", 1), messages.done(run_id, "a", 2)

    assert acknowledged(await holder.say(first, second)) == [first.n, second.n]
    assert (await step_row(store.database, run_id, "a"))["output"] == b"1"


async def test_a_run_that_is_to_be_cancelled_is_told_so_with_its_next_result(store: Store, second_store: Store) -> None:
    holder, run_id = await hold(store)
    await cancel(second_store, 1, UUID(run_id))
    answer = await holder.say(messages.done(run_id, "a"))

    assert [type(message) for message in answer] == [Committed, CancelRun]
    assert await step_status(store.database, run_id, "a") == "completed"
    await holder.say(messages.completed(run_id))
    assert await status_of(store.database, run_id) == "cancelled"


async def test_the_end_of_a_run_with_a_step_that_still_runs_cancels_that_step(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.started(run_id, "a"))
    await holder.say(messages.completed(run_id, 7))

    assert (await run_row(store.database, run_id))["output"] == b"7"
    assert await step_status(store.database, run_id, "a") == "cancelled"


def short(holder: Holder, *said: StepDone | RunCompleted) -> list[FromHolder]:
    """Messages of the holder's first connection, on the short way."""
    arrivals = [FromHolder(UUID(one.run_id), 1, holder.lease_id, one, NONE, connection=1) for one in said]
    assert divide(arrivals, holder.store.holders).progress == arrivals
    return arrivals


of_each_kind = pytest.mark.parametrize(
    "said",
    [
        [messages.done("{run}", "a")],
        [messages.done("{run}", "a"), messages.done("{run}", "b")],
        [messages.completed("{run}")],
    ],
    ids=["a result", "results", "an end"],
)


@of_each_kind
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE leases SET connection = connection + 1",
        "UPDATE leases SET taken_at = rotor_now()",
        "DELETE FROM leases",
        "UPDATE runs SET lease_id = gen_random_uuid()",
        "UPDATE runs SET cancel_requested_at = rotor_now()",
        """INSERT INTO steps (run_id, id, index, op, status, started_at, settled_group, position)
           SELECT id, 'a', 0, 'run', 'running', now(), 1, 0 FROM runs""",
    ],
    ids=["an earlier connection", "a taken lease", "no lease", "another's run", "a cancellation", "a step on record"],
)
async def test_what_does_not_stand_is_left_to_the_long_way(
    store: Store, statement: str, said: list[StepDone | RunCompleted]
) -> None:
    holder, run_id = await hold(store)
    arrivals = short(holder, *(replace(one, run_id=run_id) for one in said))
    await change(store.database, statement)
    before = await select(store.database, "SELECT * FROM runs LEFT JOIN steps ON run_id = runs.id")
    progress = await write_progress(store.database, arrivals)

    assert (progress.done, progress.left, progress.ended) == ([], arrivals, frozenset())
    assert await select(store.database, "SELECT * FROM runs LEFT JOIN steps ON run_id = runs.id") == before


@of_each_kind
@pytest.mark.parametrize(
    ("statement", "stands"),
    [
        ("UPDATE leases SET expires_at = expires_at + interval '1 minute'", True),
        ("UPDATE leases SET connection = connection + 1", False),
        ("UPDATE leases SET taken_at = rotor_now()", False),
        ("DELETE FROM leases", False),
    ],
    ids=["a heartbeat", "an earlier connection", "a taken lease", "no lease"],
)
async def test_what_becomes_of_the_lease_while_a_statement_waits_for_it_is_seen(
    store: Store, statement: str, stands: bool, said: list[StepDone | RunCompleted]
) -> None:
    holder, run_id = await hold(store)
    arrivals = short(holder, *(replace(one, run_id=run_id) for one in said))
    async with locked(store.database, statement) as other:
        writing = asyncio.create_task(write_progress(store.database, arrivals))
        await until_blocked(other)
    progress = await writing

    assert (progress.done, progress.left) == ((arrivals, []) if stands else ([], arrivals))
    steps = await value(store.database, "SELECT count(*) FROM steps")
    assert steps == (sum(isinstance(one, StepDone) for one in said) if stands else 0)
    ends = stands and isinstance(said[0], RunCompleted)
    assert await status_of(store.database, run_id) == ("completed" if ends else "running")


async def test_an_end_that_waits_for_a_cancellation_is_left_to_the_long_way(store: Store) -> None:
    holder, run_id = await hold(store)
    arrivals = short(holder, messages.completed(run_id))
    async with locked(store.database, "UPDATE runs SET cancel_requested_at = rotor_now()") as other:
        writing = asyncio.create_task(write_progress(store.database, arrivals))
        await until_blocked(other)

    assert (await writing).left == arrivals
    assert await status_of(store.database, run_id) == "running"


@pytest.mark.parametrize("count", [1, 2], ids=["alone", "in a batch"])
async def test_results_that_stand_are_written_the_short_way(store: Store, count: int) -> None:
    holder, run_id = await hold(store)
    arrivals = short(holder, *(messages.done(run_id, f"step {n}", n) for n in range(count)))
    progress = await write_progress(store.database, arrivals)

    assert (progress.done, progress.left, progress.ended) == (arrivals, [], frozenset())
    steps = await select(store.database, "SELECT * FROM steps ORDER BY position")
    assert [
        (step["id"], step["status"], step["attempts"], step["output"], step["settled_group"], step["position"])
        for step in steps
    ] == [(f"step {n}", "completed", 1, str(n).encode(), progress.group, n + 1) for n in range(count)]


@pytest.mark.parametrize("before", [[], ["a"]], ids=["alone", "in a batch"])
async def test_an_end_that_stands_is_written_the_short_way(store: Store, before: list[str]) -> None:
    holder, run_id = await hold(store)
    results = [messages.done(run_id, step) for step in before]
    arrivals = short(holder, *results, messages.completed(run_id, "out"))
    progress = await write_progress(store.database, arrivals)

    assert (progress.done, progress.left, progress.ended) == (arrivals, [], {run_id})
    run = await run_row(store.database, run_id)
    assert (run["status"], run["lease_id"], run["output"], run["changed_group"]) == (
        "completed",
        None,
        b'"out"',
        progress.group,
    )
    assert run["ended_at"] is not None


@pytest.mark.parametrize("before", [[], ["a"]], ids=["alone", "in a batch"])
async def test_the_end_of_a_child_goes_the_long_way(store: Store, before: list[str]) -> None:
    """Its parent has to be told."""
    holder, run_id = await hold(store)
    await change(
        store.database,
        "UPDATE runs SET parent_run_id = gen_random_uuid(), parent_step_id = 's', parent_step_index = 0",
    )
    results = [messages.done(run_id, step) for step in before]
    arrivals = short(holder, *results, messages.completed(run_id))
    progress = await write_progress(store.database, arrivals)

    assert progress.left == arrivals[-1:]
    assert await status_of(store.database, run_id) == "running"


@pytest.mark.parametrize(
    "said",
    [
        messages.done("{run}", "a"),
        messages.sleeps("{run}", "nap"),
        messages.completed("{run}"),
        messages.released("{run}"),
    ],
    ids=lambda message: type(message).__name__,
)
async def test_what_an_earlier_connection_of_a_holder_said_does_nothing_and_is_not_answered(
    store: Store, said: RunMessage
) -> None:
    holder, run_id = await hold(store)
    await leases.resume(store.database, 1, holder.lease_id)
    said = replace(said, run_id=run_id)

    assert await holder.say(said) == []
    assert await select(store.database, "SELECT 1 FROM steps") == []
    assert await status_of(store.database, run_id) == "running"
    holder.connection = 2
    assert acknowledged(await holder.say(said)) == [said.n]


async def test_a_loss_that_an_earlier_connection_told_of_is_none(store: Store) -> None:
    holder, run_id = await hold(store)
    await leases.resume(store.database, 1, holder.lease_id)
    lost = HolderLost(UUID(run_id), holder.lease_id, unreached_seconds=0, connection=1)

    assert not await store.committer.submit(lost)
    assert await status_of(store.database, run_id) == "running"
    assert await store.committer.submit(replace(lost, connection=2))


async def test_a_worker_whose_lease_was_taken_writes_nothing_more(store: Store) -> None:
    holder, run_id = await hold(store)
    await select(store.database, "UPDATE leases SET taken_at = rotor_now()")

    assert await holder.say(messages.done(run_id, "a"), messages.sleeps(run_id, "nap")) == []
    assert await select(store.database, "SELECT 1 FROM steps") == []


async def invoked(store: Store) -> ClaimedInvocation:
    """A run that is invoked from this server, and whose app may post its checkpoints to any."""
    await serve(store, "f", serve_url="http://app/")
    await begin(store)
    (claimed,) = await claim_invocations(store.database, count=1)
    store.holders.add(claimed.lease_id, None)
    store.holders.start(claimed.lease_id, claimed.run_id, claimed.start, quiet=claimed.quiet, now=False)
    return claimed


async def test_results_of_an_invocation_go_the_short_way_while_all_its_messages_come_to_this_server(
    store: Store,
) -> None:
    claimed = await invoked(store)

    async def post(n: int) -> list[HolderMessage]:
        done = replace(messages.done(claimed.run_id, f"step {n}"), n=n)
        (answer,) = await store.committer.exchange([Exchange(1, claimed.lease_id, [done])])
        return answer

    async with locked(store.database, "SELECT 1 FROM runs FOR NO KEY UPDATE") as other:
        assert acknowledged(await post(1)) == [1]
        assert acknowledged(await post(2)) == [2]
        posting = asyncio.create_task(post(4))
        await until_blocked(other)
    assert acknowledged(await posting) == [4]
    async with locked(store.database, "SELECT 1 FROM runs FOR NO KEY UPDATE") as other:
        posting = asyncio.create_task(post(5))
        await until_blocked(other)
    assert acknowledged(await posting) == [5]


async def test_an_app_hears_of_a_wait_that_it_opened_at_another_server(store: Store, second_store: Store) -> None:
    claimed = await invoked(store)

    async def post(to: Store, message: RunMessage, n: int) -> list[HolderMessage]:
        said = Exchange(1, claimed.lease_id, [replace(message, n=n)], told=0)
        (answer,) = await to.committer.exchange([said])
        return answer

    await post(store, messages.done(claimed.run_id, "a"), 1)
    await post(second_store, messages.sleeps(claimed.run_id, "nap", 60), 2)
    await fire_deadlines(second_store, timedelta(seconds=60))
    committed, settled = await post(store, messages.done(claimed.run_id, "b"), 3)

    assert isinstance(committed, Committed)
    assert isinstance(settled, Settled)
    assert [memo.id for memo in settled.memo] == ["nap"]
    assert settled.memo[0].group < committed.group


async def test_an_app_is_told_with_each_answer_what_was_settled_since_the_last(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.sleeps(run_id, "nap", 60))
    store.holders.remove(holder.lease_id)  # nothing is pushed to it
    await fire_deadlines(second_store, timedelta(seconds=60))
    (answer,) = await store.committer.exchange([Exchange(1, holder.lease_id, [messages.done(run_id, "a")], told=0)])
    (again,) = await store.committer.exchange([Exchange(1, holder.lease_id, [messages.done(run_id, "b")], told=1)])

    committed, settled = answer
    assert isinstance(committed, Committed)
    assert isinstance(settled, Settled)
    assert [(memo.id, memo.status) for memo in settled.memo] == [("nap", "completed")]
    assert settled.memo[0].group < committed.group
    assert [type(message) for message in again] == [Committed]


def groups(answer: list[HolderMessage]) -> dict[int, int]:
    """The commit of each message that is durable, by its number."""
    committed = [message for message in answer if isinstance(message, Committed)]
    return {number: each.group for each in committed for numbers in each.runs.values() for number in numbers}


@pytest.mark.parametrize("quiet", [True, False], ids=["the short way", "the long way"])
async def test_what_is_said_again_keeps_the_commit_that_recorded_it(store: Store, quiet: bool) -> None:
    await serve(store, "child")
    holder, run_id = await hold(store)
    if not quiet:
        await holder.say(messages.sleeps(run_id, "nap"))
    said = [messages.done(run_id, "a"), messages.failed(run_id, "b", retries=0), messages.emitted(run_id, "c", "told")]
    recorded: dict[int, int] = {}
    for message in said:
        recorded |= groups(await holder.say(message))
    await holder.say(messages.done(run_id, "later"))
    holder.told.clear()
    await holder.say(*said, messages.done(run_id, "new"))

    again = groups(holder.told)
    assert {number: again[number] for number in recorded} == recorded
    assert max(again.values()) > max(recorded.values())
    memos = {memo.id: memo.group for part in holder.told if isinstance(part, Settled) for memo in part.memo}
    assert memos["b"] == recorded[said[1].n]
