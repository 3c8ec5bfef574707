"""Events and waits find each other, whichever comes first, and each wait takes the first event that it may."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest

from rotor import limits
from rotor.engine.arrivals import EventArrived
from rotor.engine.run import StepKey
from rotor.protocol.messages import Event, RunMessage
from rotor.store import looks
from rotor.store.intake import NewEvent
from rotor.store.looks import look_at_waits
from rotor.store.store import Store
from tests import messages
from tests.messages import raw
from tests.store.actors import Holder, begin, fire_deadlines, hold, match, send, serve
from tests.store.tables import change, run_row, select, status_of, step_row, value, waits_of


async def taken(store: Store, run_id: str, step_id: str = "w") -> str | None:
    """The event that a wait took; None while it waits."""
    event_id: str | None = (await step_row(store.database, run_id, step_id))["event_id"]
    return event_id


async def test_an_event_after_the_wait_ends_it_and_is_its_result(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_event(run_id, "w", "opened"), messages.parked(run_id))
    await match(store)
    await send(store, "opened", {"at": "noon"}, id="e-1")
    await match(store)

    assert await status_of(store.database, run_id) == "queued"
    event = msgspec.json.decode((await step_row(store.database, run_id, "w"))["output"], type=Event)
    assert (event.id, event.name, bytes(event.data)) == ("e-1", "opened", b'{"at":"noon"}')
    assert await waits_of(store.database, run_id) == []


async def test_an_event_before_the_wait_is_not_missed(store: Store) -> None:
    holder, run_id = await hold(store)
    await send(store, "opened", id="e-1")
    await match(store)
    await holder.say(messages.awaits_event(run_id, "w", "opened"))
    await match(store)

    assert await taken(store, run_id) == "e-1"


async def test_a_child_finds_the_event_that_its_parent_sends_in_the_commit_that_starts_it(store: Store) -> None:
    await serve(store, "child")
    holder, run_id = await hold(store)
    await holder.say(messages.invokes(run_id, "call", "child"), messages.emitted(run_id, "go", "go", event_id="e-1"))
    child_id = (await holder.take("child")).run_id
    await holder.say(messages.awaits_event(child_id, "w", "go"))
    await match(store)

    assert await taken(store, child_id) == "e-1"
    child, call, go = (
        await run_row(store.database, child_id),
        *[await step_row(store.database, run_id, s) for s in ("call", "go")],
    )
    (event,) = await select(store.database, "SELECT accepted_at FROM events WHERE id = 'e-1'")
    assert child["created_at"] == event["accepted_at"] == call["started_at"] == go["started_at"] < go["ended_at"]


async def test_an_event_and_a_wait_of_the_same_moment_find_each_other(store: Store, second_store: Store) -> None:
    await serve(store, "f")
    runs = [await begin(store) for _ in range(20)]
    holder = await Holder.connect(store)
    await holder.claim()
    await asyncio.gather(
        *(holder.say(messages.awaits_event(run, "w", "opened", equals={"data.run": str(run)})) for run in runs),
        *(send(second_store, "opened", {"run": str(run)}, id=str(run)) for run in runs),
        match(store),
        match(second_store),
    )
    await asyncio.gather(match(store), match(second_store))

    assert [await taken(store, str(run)) for run in runs] == [str(run) for run in runs]


@pytest.mark.parametrize("looks_first", ["the wait", "the event"])
async def test_whichever_side_looks_first_the_other_is_found(store: Store, looks_first: str) -> None:
    """Both are committed before either looks."""
    holder, run_id = await hold(store)
    await send(store, "opened", {"id": 7}, id="e-1")
    await holder.say(messages.awaits_event(run_id, "w", "opened", equals={"data.id": 7}))
    if looks_first == "the wait":
        keys = [StepKey(UUID(run_id), "w", 0)]
        await look_at_waits(store, keys)
    else:
        await change(store.database, "UPDATE waits SET unlooked = false")
        await change(store.database, "INSERT INTO event_names VALUES (1, 'opened')")
        await change(store.database, "INSERT INTO event_paths VALUES (1, 'opened', 'data.id', '-infinity')")
        await change(store.database, "UPDATE workspaces SET revision = revision + 1 WHERE id = 1")
    await match(store)

    assert await taken(store, run_id) == "e-1"


async def test_a_wait_by_a_path_too_many_is_found_by_its_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EVENT_PATHS", 2)
    holder, run_id = await hold(store)
    await send(store, "opened", {"d": 7}, id="before")
    for path in "abcd":
        await holder.say(messages.awaits_event(run_id, path, "opened", equals={f"data.{path}": 7}))
        await match(store)
    for path in "abc":
        await send(store, "opened", {path: 6})
        await send(store, "opened", {path: 7}, id=path)
    await match(store)

    assert [await taken(store, run_id, path) for path in "abcd"] == ["a", "b", "c", "before"]
    assert await value(store.database, "SELECT count(*) FROM event_paths") == 2


async def test_the_first_event_is_taken(store: Store) -> None:
    holder, run_id = await hold(store)
    for number in range(5):
        await send(store, "opened", {"n": number}, id=f"e-{number}")
    await holder.say(messages.awaits_event(run_id, "w", "opened", match="data.n >= 2"))
    await match(store)

    assert await taken(store, run_id) == "e-2"


async def test_the_first_of_the_events_of_one_request_is_taken(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_event(run_id, "w", "opened", equals={"data.ok": True}))
    await match(store)
    await store.intake.accept(1, [NewEvent("opened", raw({"ok": n > 2}), f"e-{n}") for n in range(6)])
    await match(store)

    assert await taken(store, run_id) == "e-3"


async def test_an_event_that_a_stalled_server_has_taken_up_is_still_the_first(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_event(run_id, "w", "opened"))
    await match(store)
    await send(store, "opened", id="first")
    await store.database.fetch("read_due_deliveries", 10, timedelta(seconds=15))  # another server, which then stalls
    await send(store, "opened", id="second")
    await match(store)

    assert await taken(store, run_id) == "first"


async def test_only_what_matches_is_taken(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(
        messages.awaits_event(run_id, "equal", "opened", equals={"data.id": "a", "data.kind": "b"}),
        messages.awaits_event(run_id, "cel", "opened", match='data.id == "a" && data.score > 3'),
        messages.awaits_event(run_id, "any", "opened", match="data.score > 100"),
        messages.awaits_event(run_id, "other", "closed"),
    )
    await match(store)
    for number, data in enumerate(
        [
            {"id": "a"},
            {"id": "b", "kind": "b", "score": 9},
            {"id": 1, "kind": "b"},
            {"id": "a", "score": 4},
            {"id": "a", "kind": "b", "score": 2},
            {"score": 101},
            [],
            None,
        ]
    ):
        await send(store, "opened", data, id=f"e-{number}")
        await match(store)

    assert {step: await taken(store, run_id, step) for step in ("equal", "cel", "any", "other")} == {
        "equal": "e-4",
        "cel": "e-3",
        "any": "e-5",
        "other": None,
    }


async def test_two_waits_of_one_run_do_not_take_one_event(store: Store) -> None:
    holder, run_id = await hold(store)
    # Registered in this order, whatever their ids say.
    await holder.say(messages.awaits_event(run_id, "z", "opened"), messages.awaits_event(run_id, "a", "opened"))
    await match(store)
    await send(store, "opened", id="first")
    await match(store)
    assert (await taken(store, run_id, "z"), await taken(store, run_id, "a")) == ("first", None)
    await send(store, "opened", id="second")
    await match(store)

    assert await taken(store, run_id, "a") == "second"


async def test_waits_that_come_later_take_what_earlier_ones_left(store: Store) -> None:
    holder, run_id = await hold(store)
    for name in ("first", "second", "third"):
        await send(store, "opened", id=name)
    taken_by = []
    for step_id in ("c", "b", "a", "none is left"):
        await holder.say(messages.awaits_event(run_id, step_id, "opened"))
        await match(store)
        taken_by.append(await taken(store, run_id, step_id))

    assert taken_by == ["first", "second", "third", None]


async def test_one_event_resumes_many_runs(store: Store) -> None:
    await serve(store, "f")
    runs = [await begin(store) for _ in range(30)]
    holder = await Holder.connect(store)
    await holder.claim()
    for run in runs:
        await holder.say(messages.awaits_event(run, "w", "opened", equals={"data.id": 1}), messages.parked(run))
    await match(store)
    await send(store, "opened", {"id": 1.0}, id="e-1")
    await match(store)

    assert {await taken(store, str(run)) for run in runs} == {"e-1"}
    assert await value(store.database, "SELECT count(*) FROM runs WHERE status = 'queued'") == 30


async def test_the_event_that_started_the_run_is_not_waited_for(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_event(run_id, "w", "start f"))
    await match(store)
    assert await taken(store, run_id) is None
    event_id = await send(store, "start f")
    await match(store)

    assert await taken(store, run_id) == event_id


async def test_an_event_of_before_the_run_is_not_taken(store: Store) -> None:
    await send(store, "opened", id="before")
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_event(run_id, "w", "opened"))
    await match(store)

    assert await taken(store, run_id) is None


async def test_since_narrows_how_far_back_a_wait_looks(store: Store) -> None:
    holder, run_id = await hold(store)
    await send(store, "opened", id="first")
    store.database.advance(timedelta(minutes=10))
    await send(store, "opened", id="second")
    now = await value(store.database, "SELECT rotor_now()")
    store.database.advance(timedelta(minutes=10))
    waits = {
        "all": messages.awaits_event(run_id, "all", "opened"),
        "some": messages.awaits_event(run_id, "some", "opened", since=now - timedelta(minutes=5)),
        "none": messages.awaits_event(run_id, "none", "opened", since_now=True),
    }
    for message in waits.values():
        await holder.say(message)
        await match(store)
    assert {step: await taken(store, run_id, step) for step in waits} == {
        "all": "first",
        "some": "second",
        "none": None,
    }
    await send(store, "opened", id="third")
    await match(store)

    assert await taken(store, run_id, "none") == "third"


async def test_a_path_that_no_wait_has_used_before_finds_the_events_of_before(store: Store) -> None:
    """Events are indexed by the paths that are known as they come; those of before are looked through by name."""
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_event(run_id, "makes the name known", "opened", equals={"data.other": 1}))
    await match(store)
    await send(store, "opened", {"id": 1}, id="before the path")
    await match(store)
    await holder.say(messages.awaits_event(run_id, "w", "opened", equals={"data.id": 1}))
    await match(store)
    assert await taken(store, run_id) == "before the path"
    await send(store, "opened", {"id": 1}, id="after the path")
    await match(store)
    await holder.say(messages.awaits_event(run_id, "w2", "opened", equals={"data.id": 1}))
    await match(store)

    assert await taken(store, run_id, "w2") == "after the path"


async def test_a_deferred_event_ends_a_wait_when_it_takes_effect(store: Store) -> None:
    holder, run_id = await hold(store)
    now = await value(store.database, "SELECT rotor_now()")
    await send(store, "opened", id="later", ts=now + timedelta(minutes=1))
    await holder.say(messages.awaits_event(run_id, "w", "opened"))
    await match(store)
    assert await taken(store, run_id) is None
    store.database.advance(timedelta(minutes=1))
    await match(store)

    assert await taken(store, run_id) == "later"


async def test_an_event_that_a_step_sends_ends_the_wait_of_another_run(store: Store) -> None:
    holder, run_id = await hold(store)
    await serve(store, "g")
    sender = await begin(store, "g")
    await holder.take("g")
    await holder.say(messages.awaits_event(run_id, "w", "opened", equals={"data.id": 1}))
    await match(store)
    await holder.say(messages.emitted(sender, "tell", "opened", {"id": 1}, event_id="told"))
    await match(store)

    assert await taken(store, run_id) == "told"


async def test_an_event_of_another_workspace_is_not_taken(store: Store) -> None:
    await change(store.database, "INSERT INTO workspaces (name) VALUES ('other')")
    holder, run_id = await hold(store)
    await holder.say(
        messages.awaits_event(run_id, "w", "opened"),
        messages.awaits_event(run_id, "by path", "opened", equals={"data.id": 1}),
    )
    await match(store)
    await send(store, "opened", {"id": 1}, workspace_id=2)
    await match(store)

    assert [await taken(store, run_id, step) for step in ("w", "by path")] == [None, None]


async def test_a_wait_that_timed_out_leaves_the_event_to_the_next(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_event(run_id, "first", "opened", seconds=60))
    await match(store)
    await fire_deadlines(store, timedelta(seconds=60))
    await holder.say(messages.awaits_event(run_id, "second", "opened", seconds=60))
    await send(store, "opened", id="e-1")
    await match(store)

    assert (await step_row(store.database, run_id, "first"))["status"] == "timed_out"
    assert await taken(store, run_id, "second") == "e-1"


async def test_looking_goes_on_page_after_page(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "PAGE", 3)
    holder, run_id = await hold(store)
    await store.intake.accept(1, [NewEvent("opened", raw({"n": n}), f"e-{n}") for n in range(20)])
    said: list[RunMessage] = [
        messages.awaits_event(run_id, "eleventh", "opened", match="data.n >= 10"),
        messages.awaits_event(run_id, "after it", "opened", match="data.n >= 10"),
        messages.awaits_event(run_id, "last", "opened", match="data.n >= 19"),
        messages.awaits_event(run_id, "none", "opened", match="data.n >= 20"),
    ]
    await holder.say(*said)
    await match(store)

    assert [await taken(store, run_id, step) for step in ("eleventh", "after it", "last", "none")] == [
        "e-10",
        "e-11",
        "e-19",
        None,
    ]


async def test_large_events_are_held_a_few_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rotor.limits.BATCH_BYTES", 1_000)
    sizes: list[int] = []
    read = store.database.fetch

    async def counting(name: str, *arguments: object) -> list[object]:
        rows = await read(name, *arguments)
        if name == "read_events":
            sizes.append(sum(len(row["data"]) for row in rows))
        return list(rows)

    holder, run_id = await hold(store)
    events = [NewEvent("opened", raw({"n": n, "fill": "x" * 400}), f"e-{n}") for n in range(12)]
    await store.intake.accept(1, events)
    await match(store)
    monkeypatch.setattr(store.database, "fetch", counting)
    await holder.say(messages.awaits_event(run_id, "w", "opened", match="data.n == 11 && data.n > 0 || false"))
    await match(store)

    assert await taken(store, run_id) == "e-11"
    assert sizes
    assert max(sizes) <= 1_000


async def test_a_wait_that_has_looked_back_is_tried_on_what_is_at_hand(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, run_id = await hold(store)
    await store.intake.accept(1, [NewEvent("opened", raw({"n": n})) for n in range(200)])
    await match(store)
    await holder.say(messages.awaits_event(run_id, "w", "opened", match="data.n > 200"))
    await match(store)
    read = asked_of(store, monkeypatch)
    for number in (1, 2, 300):
        await send(store, "opened", {"n": number}, id=f"e-{number}")
        await match(store)

    assert await taken(store, run_id) == "e-300"
    assert not read & {"find_events", "read_events", "read_waits"}


async def test_what_another_server_has_still_to_look_at_holds_up_only_who_may_want_it(
    store: Store, second_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, run_id = await hold(store)
    await holder.say(*(messages.awaits_event(run_id, f"w{n}", "opened", equals={"data.id": n}) for n in range(3)))
    await match(store)
    await send(second_store, "opened", {"id": 0}, id="theirs")  # by a server that is slow to look
    read = asked_of(store, monkeypatch)
    await send(store, "opened", {"id": 1}, id="ours")
    await match(store)
    assert await taken(store, run_id, "w1") == "ours"
    assert "find_events" not in read
    await send(store, "opened", {"id": 0}, id="later")
    await match(store)

    assert [await taken(store, run_id, f"w{n}") for n in range(3)] == ["theirs", "ours", None]


def asked_of(store: Store, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the statements that fetch rows from now on, outside of transactions."""
    asked: set[str] = set()
    fetch = store.database.fetch

    async def noting(name: str, *arguments: object) -> list[object]:
        asked.add(name)
        return list(await fetch(name, *arguments))

    monkeypatch.setattr(store.database, "fetch", noting)
    return asked


async def test_an_event_for_a_wait_that_is_over_is_dropped(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_event(run_id, "w", "opened"))
    await match(store)
    await send(store, "opened", id="e-1")
    await match(store)

    late = EventArrived(StepKey(UUID(run_id), "w", 0), "e-2", b"{}", 1)
    assert not await store.committer.submit(late)
    assert await taken(store, run_id) == "e-1"


async def test_nothing_is_left_to_look_at(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_event(run_id, "w", "opened", match="data.n == 1"))
    await send(store, "opened", {"n": 2})
    await match(store)

    assert await select(store.database, "SELECT 1 FROM deliveries") == []
    assert await select(store.database, "SELECT 1 FROM waits WHERE unlooked") == []


async def test_values_are_indexed_by_the_paths_that_waits_use_alone(store: Store) -> None:
    await send(store, "opened", {"id": 1})
    await match(store)
    assert await select(store.database, "SELECT 1 FROM event_values") == []
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_event(run_id, "w", "opened", equals={"data.id": 2}))
    await match(store)
    await send(store, "opened", {"id": 1, "more": 2})
    await send(store, "closed", {"id": 1})
    await match(store)

    assert [row["name"] for row in await select(store.database, "SELECT name FROM event_values")] == ["opened"]
