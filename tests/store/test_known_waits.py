"""An event wakes, in the commit that writes it, runs whose waits this server remembers: where nothing speaks against
it, and then it comes to the same as if the waits had been looked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from rotor import limits
from rotor.engine.arrivals import HolderLost
from rotor.engine.effects import PutWait
from rotor.engine.matching import parse_match
from rotor.engine.run import StepKey
from rotor.protocol.messages import Goodbye
from rotor.services.matcher import Matcher
from rotor.store import functions, intake, leases
from rotor.store.cancellation import cancel
from rotor.store.database import Database
from rotor.store.event_rows import EventRow
from rotor.store.intake import NewEvent
from rotor.store.known_waits import KnownWaits, known_wait
from rotor.store.store import Store
from rotor.store.vault import Vault
from tests import messages
from tests.messages import raw
from tests.store.actors import Holder, begin, fire_deadlines, hold, match, send, serve
from tests.store.tables import (
    change,
    locked,
    lose_answer,
    run_row,
    select,
    status_of,
    step_row,
    stop_clock,
    until_blocked,
    value,
    waits_of,
)
from tests.store.test_parking import statements
from tests.store.test_waking import (
    came_back,
    kept_elsewhere,
    park,
    parked,
    paused,
    ran_out,
    resumed,
    seen,
    served,
    taken_away,
)

WAKES = {"accept_event_and_wake", "accept_and_wake"}
ACCEPTS = {"accept_event", "accept_events"}


@pytest.fixture(params=["alone", "in a batch"])
def store(store: Store, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An event by itself has a statement of its own, which has to do what the one for a batch does."""
    if request.param == "in a batch":
        monkeypatch.setattr(intake._Columns, "alone", None)
    return store


async def remembered(store: Store, *, slots: int = 1) -> tuple[Holder, str]:
    """A run that waits for an event of its own, whose holder keeps its body; and what such events meet is known."""
    holder, run_id = await parked(store, slots=slots)
    await known(store)
    return holder, run_id


async def known(store: Store) -> None:
    await send(store, "opened", {"run": "nobody"})
    await match(store)


async def comes(store: Store, run_id: str, **fields: Any) -> str:
    """Its event is sent, and nobody looks for waiters yet."""
    return await send(store, "opened", {"run": run_id}, **fields)


async def taken(store: Store, run_id: str) -> str | None:
    event_id: str | None = (await step_row(store.database, run_id, "w"))["event_id"]
    return event_id


# --- it does


async def test_an_event_wakes_a_run_in_its_own_commit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    holder, run_id = await remembered(store)
    asked = statements(monkeypatch)
    event_id = await comes(store, run_id)

    assert asked == ["accept_event_and_wake" if intake._Columns.alone else "accept_and_wake"]
    run, step = await run_row(store.database, run_id), await step_row(store.database, run_id, "w")
    assert (run["status"], run["lease_id"], run["kept_by"], run["settled"]) == ("running", holder.lease_id, None, 1)
    assert (step["status"], step["event_id"], await waits_of(store.database, run_id)) == ("completed", event_id, [])
    (resume,) = resumed(holder)
    assert bytes(resume.memo[0].output) == step["output"]
    await match(store)
    assert len(resumed(holder)) == 1
    await holder.say(messages.completed(run_id, 1))
    assert await status_of(store.database, run_id) == "completed"


async def test_it_comes_to_the_same_as_when_the_wait_is_looked_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, first = await remembered(store)
    asked = statements(monkeypatch)
    at_once = await seen(store, holder, first)
    assert "put_wakes" not in asked
    await holder.say(messages.completed(first))
    await begin(store)
    second = (await holder.take()).run_id
    await park(store, holder, second)
    monkeypatch.setattr(KnownWaits, "takers", lambda *_: [])

    assert await seen(store, holder, second) == at_once
    assert "put_wakes" in asked


MOMENTS = [
    "2026-01-31 09:00:00Z",
    "2026-01-31 09:00:00.5Z",
    "2026-12-31 23:59:59.999999Z",
    "2026-01-31 09:00:00.00001Z",
]


async def test_its_time_is_recorded_as_it_is_told(fresh_database: Database) -> None:
    store = Store.on(fresh_database)
    store.start()
    holder, run_id = await remembered(store)
    for moment in MOMENTS:
        await stop_clock(store.database, moment)
        await change(store.database, "UPDATE waits SET since = rotor_now()")
        event_id = await comes(store, run_id)

        (event,) = await select(store.database, "SELECT * FROM events WHERE id = $1", event_id)
        output = (await step_row(store.database, run_id, "w"))["output"]
        assert output == bytes(resumed(holder)[-1].memo[0].output)
        assert msgspec.json.decode(output) == {
            "id": event_id,
            "name": "opened",
            "data": {"run": run_id},
            "ts": event["ts"].astimezone(UTC).isoformat().replace("+00:00", "Z"),
        }
        await holder.say(messages.completed(run_id))
        await begin(store)
        run_id = (await holder.take()).run_id
        await park(store, holder, run_id)
    await store.stop()


async def test_one_event_wakes_whoever_is_known_to_wait_for_it_and_others_are_looked_for(store: Store) -> None:
    await serve(store, "f")
    holder = await Holder.connect(store, slots=10)
    runs = [str(await begin(store)) for _ in range(3)]
    await holder.claim()
    for run_id in runs:
        await holder.say(messages.awaits_event(run_id, "w", "opened"), messages.parked(run_id, kept=run_id != runs[1]))
    await match(store)
    await send(store, "opened", ts=await value(store.database, "SELECT rotor_now() + interval '1 day'"))
    event_id = await send(store, "opened")
    assert [await status_of(store.database, run_id) for run_id in runs] == ["running", "waiting", "running"]
    assert sorted(message.run_id for message in resumed(holder)) == sorted([runs[0], runs[2]])
    await match(store)

    assert [await taken(store, run_id) for run_id in runs] == [event_id] * 3
    assert await status_of(store.database, runs[1]) == "queued"


async def test_what_was_looked_at_and_still_stands_is_in_nobodys_way(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, first = await remembered(store, slots=2)
    await begin(store)
    second = (await holder.take()).run_id
    await park(store, holder, second)
    loop = Matcher(store)
    asked = statements(monkeypatch)
    for run_id in (first, second):
        await comes(store, run_id)
        assert await status_of(store.database, run_id) == "running"
        await loop.tick()

    assert sum(name in WAKES for name in asked) == 2
    assert len(await select(store.database, "SELECT FROM deliveries")) == 2


async def test_where_each_event_has_come_to_a_run_others_are_looked_for_a_moment_later(store: Store) -> None:
    holder, run_id = await remembered(store, slots=2)
    store.changes.delivered.clear()
    await comes(store, run_id)
    assert not store.changes.delivered.is_set()
    await store.changes.delivered.wait()
    await match(store)
    await begin(store)
    run_id = (await holder.take()).run_id
    await park(store, holder, run_id)
    store.changes.delivered.clear()
    await store.intake.accept(1, [NewEvent("opened", raw({"run": run})) for run in (run_id, "another")])

    assert (len(resumed(holder)), store.changes.delivered.is_set()) == (2, True), "one of them has come to nobody yet"


async def test_a_keeper_connects_again_where_it_may_have_a_run_that_nobody_told_it_of(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, run_id = await remembered(store)
    lose_answer(store.database, monkeypatch, "connection")
    event_id = await comes(store, run_id)

    assert (await run_row(store.database, run_id))["lease_id"] == holder.lease_id
    assert (await taken(store, run_id), resumed(holder)) == (event_id, [])
    assert isinstance(holder.told[-1], Goodbye)


async def test_a_run_that_is_woken_by_a_server_that_dies_at_once_is_given_back_by_its_worker(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await remembered(store)
    event_id = await comes(store, run_id)  # and dies: the worker hears nothing, and connects to another
    number = await leases.resume(second_store.database, 1, holder.lease_id)
    (held,) = await leases.held_runs(second_store.database, holder.lease_id)
    await second_store.committer.submit(HolderLost(held, holder.lease_id, unreached_seconds=0, connection=number))

    row = await run_row(store.database, run_id)
    assert (str(held), row["status"], row["losses"], await taken(store, run_id)) == (run_id, "queued", 0, event_id)


# --- it does not


async def not_at_once(store: Store, holder: Holder, run_id: str, asked: list[str]) -> None:
    """Its event comes and wakes nothing, though this server tries."""
    asked.clear()
    event_id = await comes(store, run_id)
    assert not WAKES.isdisjoint(asked)
    assert await value(store.database, "SELECT position FROM events WHERE id = $1", event_id) is not None
    assert (await taken(store, run_id), resumed(holder)) == (None, [])


@pytest.mark.parametrize("before", [paused, served, came_back, ran_out, taken_away, kept_elsewhere])
async def test_where_its_keeper_cannot_go_on_it_is_left_to_the_look(
    store: Store, monkeypatch: pytest.MonkeyPatch, before: Callable[..., Any]
) -> None:
    holder, run_id = await remembered(store)
    await before(store, run_id)
    await store.intake.accept(1, [NewEvent("opened", raw({}))])  # by now it is known what such events meet
    await match(store)
    await not_at_once(store, holder, run_id, statements(monkeypatch))
    assert await status_of(store.database, run_id) == "waiting"
    await match(store)

    assert (await status_of(store.database, run_id), resumed(holder)) == ("queued", [])


async def is_being_cancelled(store: Store, other: Store, run_id: str) -> None:
    await change(store.database, "UPDATE runs SET cancel_requested_at = rotor_now() WHERE id = $1", UUID(run_id))


async def was_cancelled(store: Store, other: Store, run_id: str) -> None:
    await cancel(other, 1, UUID(run_id))


async def has_timed_out(store: Store, other: Store, run_id: str) -> None:
    other.database.advance(timedelta(days=365))
    await fire_deadlines(other)


async def parked_anew(store: Store, other: Store, run_id: str) -> None:
    await change(store.database, "UPDATE runs SET kept_group = kept_group + 1 WHERE id = $1", UUID(run_id))


async def kept_by_another(store: Store, other: Store, run_id: str) -> None:
    keeper = await Holder.connect(other)
    await change(store.database, "UPDATE runs SET kept_by = $1 WHERE id = $2", keeper.lease_id, UUID(run_id))


async def owes_its_look(store: Store, other: Store, run_id: str) -> None:
    await change(store.database, "UPDATE waits SET unlooked = true")


async def looks_back_to_the_future(store: Store, other: Store, run_id: str) -> None:
    await change(store.database, "UPDATE waits SET since = rotor_now() + interval '1 hour'")


AGAINST = [
    is_being_cancelled,
    was_cancelled,
    has_timed_out,
    parked_anew,
    kept_by_another,
    owes_its_look,
    looks_back_to_the_future,
]


@pytest.mark.parametrize("before", AGAINST)
async def test_what_is_remembered_of_a_run_and_is_not_so_any_more_wakes_nothing(
    store: Store, second_store: Store, monkeypatch: pytest.MonkeyPatch, before: Callable[..., Awaitable[None]]
) -> None:
    holder, run_id = await remembered(store)
    await before(store, second_store, run_id)
    run = await run_row(store.database, run_id)
    await not_at_once(store, holder, run_id, statements(monkeypatch))

    assert await run_row(store.database, run_id) == run
    assert len(store.holders.waits) == 0, "what is not so is forgotten"
    await change(store.database, "UPDATE runs SET cancel_requested_at = NULL WHERE ended_at IS NULL")


async def test_an_earlier_event_that_another_server_has_still_to_look_at_is_the_first(
    store: Store, second_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, run_id = await remembered(store)
    first = await comes(second_store, run_id)
    await not_at_once(store, holder, run_id, statements(monkeypatch))
    await match(store)

    assert await taken(store, run_id) == first


async def test_an_earlier_event_that_this_server_has_still_to_look_at_is_the_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, run_id = await parked(store)
    first = await comes(store, run_id)  # by then it was not known what such events meet
    asked = statements(monkeypatch)
    await comes(store, run_id)
    assert [name in ACCEPTS for name in asked] == [True]
    await match(store)

    assert (await taken(store, run_id), len(resumed(holder))) == (first, 1)


async def test_while_events_are_being_looked_at_later_ones_wake_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, run_id = await remembered(store, slots=2)
    with monkeypatch.context() as nobody_known:
        nobody_known.setattr(KnownWaits, "takers", lambda *_: [])
        first = await comes(store, run_id)
    async with locked(store.database, "SELECT 1 FROM runs WHERE id = $1 FOR UPDATE", UUID(run_id)) as other:
        looking = asyncio.create_task(Matcher(store).tick())
        await until_blocked(other)
        asked = statements(monkeypatch)
        await comes(store, run_id)
        assert [name in ACCEPTS for name in asked] == [True]
    await looking

    assert (await taken(store, run_id), len(resumed(holder))) == (first, 1)


async def test_what_was_looked_at_before_a_new_path_was_known_may_have_to_be_looked_at_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, run_id = await remembered(store)
    await send(store, "opened", {"run": "nobody"})
    await Matcher(store).tick()
    await change(store.database, "UPDATE workspaces SET revision = revision + 1")
    async with store.database.connection() as connection:
        await store.intake.subscriptions.read(connection, {(1, "opened")})
    asked = statements(monkeypatch)
    await comes(store, run_id)
    assert [name in ACCEPTS for name in asked] == [True]
    await match(store)

    assert len(resumed(holder)) == 1


async def test_what_another_server_registers_holds_for_an_event_that_would_wake_a_run(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await remembered(store)
    await serve(second_store, "g", event="opened")
    event_id = await comes(store, run_id)
    assert await value(store.database, "SELECT count(*) FROM runs WHERE event_id = $1", event_id) == 1
    await match(store)

    assert len(resumed(holder)) == 1


async def starts_a_run(store: Store, run_id: str) -> str:
    await serve(store, "g", event="opened")
    await send(store, "opened", {})
    await match(store)
    return await comes(store, run_id)


async def has_its_own_time(store: Store, run_id: str) -> str:
    return await comes(store, run_id, ts=await value(store.database, "SELECT rotor_now() - interval '1 day'"))


async def is_sealed(store: Store, run_id: str) -> str:
    plain = store.database
    sealing = await Database.connect(plain.dsn, schema=plain.schema, vault=Vault({"a": b"k" * 32}))
    store.intake._database = sealing
    event_id = await comes(store, run_id)
    store.intake._database = plain
    await sealing.close()
    return event_id


@pytest.mark.parametrize("comes", [starts_a_run, has_its_own_time, is_sealed])
async def test_an_event_that_has_to_be_made_ready_first_wakes_the_run_when_it_is_looked_at(
    store: Store, monkeypatch: pytest.MonkeyPatch, comes: Callable[[Store, str], Awaitable[str]]
) -> None:
    holder, run_id = await remembered(store)
    asked = statements(monkeypatch)
    event_id = await comes(store, run_id)
    assert (WAKES & set(asked), resumed(holder)) == (set(), [])
    if comes is not is_sealed:
        await match(store)

        assert (await taken(store, run_id), len(resumed(holder))) == (event_id, 1)
    else:
        await change(store.database, "DELETE FROM deliveries")


async def test_an_event_that_is_still_deferred_wakes_nothing(store: Store) -> None:
    holder, run_id = await remembered(store)
    later = await value(store.database, "SELECT rotor_now() + interval '1 minute'")
    event_id = await comes(store, run_id, ts=later)
    await match(store)
    assert resumed(holder) == []
    store.database.advance(timedelta(minutes=2))
    await match(store)

    assert (await taken(store, run_id), len(resumed(holder))) == (event_id, 1)


async def test_an_event_that_came_before_wakes_nothing_again(store: Store) -> None:
    holder, run_id = await remembered(store)
    await send(store, "opened", {"run": "nobody"}, id="e")
    await match(store)
    again, fresh = NewEvent("opened", raw({"run": run_id}), "e"), NewEvent("opened", raw({"run": run_id}), "e-2")
    await store.intake.accept(1, [again, fresh])
    assert resumed(holder) == []
    await match(store)

    assert (await taken(store, run_id), len(resumed(holder))) == ("e-2", 1)


async def test_of_several_events_at_once_the_first_is_taken(store: Store) -> None:
    holder, run_id = await remembered(store)
    events = [NewEvent("opened", raw({"run": run, "n": n}), f"e-{n}") for n, run in enumerate(["x", run_id, run_id])]
    await store.intake.accept(1, events)
    assert await taken(store, run_id) == "e-1"
    await match(store)

    assert (await taken(store, run_id), len(resumed(holder))) == ("e-1", 1)


async def test_an_id_that_is_new_again_is_not_taken_twice_by_one_run(store: Store) -> None:
    holder, run_id = await remembered(store)
    await comes(store, run_id, id="e")
    await match(store)
    await change(store.database, "DELETE FROM events WHERE id = 'e'")  # as what is old is forgotten
    again = messages.awaits_event(run_id, "again", "opened", equals={"data.run": run_id}, since_now=True)
    await holder.say(again, messages.parked(run_id, 1, kept=True))
    await match(store)
    await comes(store, run_id, id="e")
    await match(store)
    assert (await waits_of(store.database, run_id), len(resumed(holder))) == (["again"], 1)
    await comes(store, run_id, id="e-2")

    assert len(resumed(holder)) == 2


@pytest.mark.parametrize("why", ["no slot", "others wait for their turn", "its slot is just being filled"])
async def test_a_keeper_without_room_gets_it_in_its_turn(store: Store, why: str) -> None:
    holder, run_id = await remembered(store, slots=0 if why == "no slot" else 1)
    if why == "others wait for their turn":
        store.holders.hungry.add(holder.lease_id)
    with store.holders.reserve({holder.lease_id: 1 if why == "its slot is just being filled" else 0}):
        await comes(store, run_id)
        assert resumed(holder) == []
        await match(store)

    assert await status_of(store.database, run_id) == "queued"


async def test_as_many_go_on_at_once_as_their_keeper_has_slots(store: Store) -> None:
    holder, first = await remembered(store, slots=2)
    runs = [first]
    for _ in range(2):
        await begin(store)
        runs.append((await holder.take()).run_id)
        await park(store, holder, runs[-1])
    await store.intake.accept(1, [NewEvent("opened", raw({"run": run_id})) for run_id in runs])
    assert [await status_of(store.database, run_id) for run_id in runs] == ["running", "running", "waiting"]
    await match(store)

    assert await status_of(store.database, runs[2]) == "queued"


# --- what is remembered


async def test_a_run_with_two_waits_is_not_remembered(store: Store) -> None:
    await parked(store, also="closed")

    assert len(store.holders.waits) == 0


async def test_a_run_is_remembered_until_it_goes_on_or_its_body_is_dropped(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, _run_id = await parked(store)
    assert len(store.holders.waits) == 1
    second, other = await hold(store, "g")
    await park(store, second, other)
    store.holders.remove(second.lease_id)
    assert len(store.holders.waits) == 1
    for _ in range(3):
        store.holders.forget(holder.lease_id, uuid4(), kept=True)
    assert len(store.holders.waits) == 1
    for _ in range(100):
        store.holders.forget(holder.lease_id, uuid4(), kept=True)

    assert len(store.holders.waits) == 0


async def test_a_run_that_goes_on_is_forgotten(store: Store) -> None:
    _holder, run_id = await remembered(store)
    await comes(store, run_id)

    assert len(store.holders.waits) == 0


def wait_for(run_id: UUID, *, topic: str | None = "event:opened", expression: str | None = None) -> PutWait:
    return PutWait(StepKey(run_id, "w", 0), 1, topic, match=parse_match(expression, {"data.id": str(run_id)}))


@pytest.mark.parametrize(
    ("expression", "is_kept"),
    [
        (None, True),
        ("data.n > 3", True),
        ("ts > timestamp('2026-01-01T00:00:00Z')", False),
        ("data.n > 3 && ts == null", False),
        (" || ".join(f"data.n == {n}" for n in range(60)), True),
    ],
)
def test_a_wait_that_may_ask_for_the_time_is_not_remembered(expression: str | None, is_kept: bool) -> None:
    assert (known_wait(wait_for(uuid4(), expression=expression), 1) is not None) == is_kept


def test_a_wait_with_a_long_match_is_not_remembered() -> None:
    match = parse_match(None, {f"data.p{n}": "x" * 1_000 for n in range(3)})

    assert known_wait(PutWait(StepKey(uuid4(), "w", 0), 1, "event:opened", match=match), 1) is None


def remembering(*runs: UUID) -> KnownWaits:
    waits = KnownWaits()
    for run_id in runs:
        wait = known_wait(wait_for(run_id), 1)
        assert wait is not None
        waits.remember(wait)
    return waits


def wanted(*runs: UUID) -> list[tuple[int, EventRow, tuple[int, ...]]]:
    """An event for each."""
    return [
        (
            place,
            EventRow(1, f"e-{place}", "opened", msgspec.json.encode({"id": str(run_id)})),
            (0, parse_match(None, {"data.id": str(run_id)}).match_hash),
        )
        for place, run_id in enumerate(runs, 1)
    ]


def test_of_too_many_waits_those_of_the_last_runs_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KNOWN_WAITS", 2)
    runs = [uuid4() for _ in range(3)]
    waits = remembering(*runs)

    assert len(waits) == 2
    assert [taker.wait.key.run_id for taker in waits.takers(wanted(*runs), 10)] == runs[1:]


def test_no_more_waits_are_tried_at_once_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [uuid4() for _ in range(3)]
    waits = remembering(*runs)
    monkeypatch.setattr(limits, "BATCH", 2)

    assert [taker.wait.key.run_id for taker in waits.takers(wanted(*runs), 10)] == runs[:2]
    assert [taker.wait.key.run_id for taker in waits.takers(wanted(*runs), 1)] == runs[:1]


def test_what_is_forgotten_leaves_nothing_behind() -> None:
    runs = [uuid4() for _ in range(3)]
    waits = remembering(*runs, runs[0])
    for run_id in runs:
        waits.forget(run_id)
        waits.forget(run_id)

    assert (len(waits), waits._stored, waits.takers(wanted(*runs), 10)) == (0, {}, [])


def test_an_event_of_another_workspace_or_name_is_for_nobody() -> None:
    run_id = uuid4()
    waits = remembering(run_id)
    ((place, event, hashes),) = wanted(run_id)
    others = [msgspec.structs.replace(event, workspace_id=2), msgspec.structs.replace(event, name="closed")]

    assert waits.takers([(place, other, hashes) for other in others], 10) == []


# --- two connections

AS_IT_WRITES_THE_STEP = "SELECT 1 FROM steps WHERE run_id = $1 FOR UPDATE"


@pytest.mark.parametrize(
    "somebody_has",
    [
        "SELECT 1 FROM runs WHERE status = 'waiting' FOR UPDATE",
        "SELECT 1 FROM leases FOR UPDATE",
        "SELECT 1 FROM functions FOR UPDATE",
    ],
)
async def test_an_event_waits_for_no_run_that_somebody_else_has(
    store: Store, monkeypatch: pytest.MonkeyPatch, somebody_has: str
) -> None:
    holder, run_id = await remembered(store)
    async with locked(store.database, somebody_has):
        await not_at_once(store, holder, run_id, statements(monkeypatch))
    await match(store)

    assert len(resumed(holder)) == 1


AS_IT_NUMBERS_THE_COMMIT = "ALTER SEQUENCE commit_group CACHE 1"


async def is_paused(store: Store, other: Store, run_id: str) -> None:
    await functions.pause(other.database, 1, "f")


async def has_come_back(store: Store, other: Store, run_id: str) -> None:
    await came_back(store, run_id)


async def has_run_out(store: Store, other: Store, run_id: str) -> None:
    await change(store.database, "UPDATE leases SET taken_at = rotor_now()")


async def has_no_wait(store: Store, other: Store, run_id: str) -> None:
    await change(store.database, "DELETE FROM waits")


@pytest.mark.parametrize(
    "meanwhile",
    [is_paused, has_come_back, has_run_out, has_no_wait, is_being_cancelled, parked_anew, owes_its_look],
)
async def test_what_changes_after_the_statement_has_begun_is_seen_as_it_locks(
    store: Store, second_store: Store, meanwhile: Callable[..., Awaitable[None]]
) -> None:
    holder, run_id = await remembered(store)
    async with locked(store.database, AS_IT_NUMBERS_THE_COMMIT) as other:
        coming = asyncio.create_task(comes(store, run_id))
        await until_blocked(other)
        await meanwhile(store, second_store, run_id)
        run = await run_row(store.database, run_id)
    await coming

    assert (await taken(store, run_id), resumed(holder)) == (None, [])
    assert await run_row(store.database, run_id) == run
    await change(store.database, "DELETE FROM runs; DELETE FROM steps; DELETE FROM waits")


async def test_a_pause_is_answered_once_what_is_just_waking_goes_on(store: Store, second_store: Store) -> None:
    holder, run_id = await remembered(store)
    async with locked(store.database, AS_IT_WRITES_THE_STEP, UUID(run_id)) as other:
        waking = asyncio.create_task(comes(store, run_id))
        await until_blocked(other)
        pausing = asyncio.create_task(functions.pause(second_store.database, 1, "f"))
        await until_blocked(other, 2)
    await asyncio.gather(waking, pausing)

    assert (await status_of(store.database, run_id), len(resumed(holder))) == ("running", 1)


async def test_a_cancellation_that_comes_as_the_run_is_being_woken_reaches_its_holder(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await remembered(store)
    async with locked(store.database, AS_IT_WRITES_THE_STEP, UUID(run_id)) as other:
        waking = asyncio.create_task(comes(store, run_id))
        await until_blocked(other)
        cancelling = asyncio.create_task(cancel(second_store, 1, UUID(run_id)))
        await until_blocked(other, 2)
    await asyncio.gather(waking, cancelling)

    row = await run_row(store.database, run_id)
    assert (row["status"], row["cancel_requested_at"] is not None, len(resumed(holder))) == ("running", True, 1)


async def test_a_timeout_that_comes_as_the_run_is_being_woken_is_too_late(store: Store, second_store: Store) -> None:
    _holder, run_id = await remembered(store)
    second_store.database.advance(timedelta(days=365))
    async with locked(store.database, AS_IT_WRITES_THE_STEP, UUID(run_id)) as other:
        waking = asyncio.create_task(comes(store, run_id))
        await until_blocked(other)
        firing = asyncio.create_task(fire_deadlines(second_store))
        await until_blocked(other, 2)
    event_id, _ = await asyncio.gather(waking, firing)

    assert (await taken(store, run_id), (await run_row(store.database, run_id))["settled"]) == (event_id, 1)


async def test_a_run_whose_keeper_leaves_as_it_wakes_is_given_to_others_at_once(store: Store) -> None:
    holder, run_id = await remembered(store)
    async with locked(store.database, AS_IT_WRITES_THE_STEP, UUID(run_id)) as other:
        waking = asyncio.create_task(comes(store, run_id))
        await until_blocked(other)
        store.holders.remove(holder.lease_id)
    await waking
    await store.committer.stop()

    row = await run_row(store.database, run_id)
    assert (row["status"], row["losses"], resumed(holder)) == ("queued", 0, [])


SAME_EVENT = """
    INSERT INTO events (workspace_id, id, name, data, ts, accepted_at) VALUES (1, 'e', 'other', '1', now(), now())
"""


async def test_an_event_whose_id_another_server_is_just_writing_wakes_nothing(store: Store) -> None:
    holder, run_id = await remembered(store)
    async with locked(store.database, SAME_EVENT) as other:
        sending = asyncio.create_task(comes(store, run_id, id="e"))
        await until_blocked(other)
    await sending
    await match(store)

    assert (await status_of(store.database, run_id), resumed(holder)) == ("waiting", [])
    await change(store.database, "UPDATE events SET effective_at = now(), position = 0 WHERE id = 'e'")


async def test_an_earlier_event_whose_commit_comes_between_is_looked_at_first(
    store: Store, second_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait has looked back by then, and its event is found by whoever has committed it."""
    holder, run_id = await remembered(store)
    async with locked(store.database, "LOCK TABLE event_values IN SHARE MODE") as other:
        first = asyncio.create_task(comes(second_store, run_id))
        await until_blocked(other)
    first_id = await first
    await not_at_once(store, holder, run_id, statements(monkeypatch))
    await match(second_store)
    await match(store)

    assert await taken(store, run_id) == first_id
