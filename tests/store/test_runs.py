"""Runs and steps are read as they were written, page by page."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from rotor.store import events, runs
from rotor.store.database import Database
from rotor.store.pages import encode_cursor
from rotor.store.problems import Invalid, NotFound
from tests.store.rows import BEGINNING, put_event, put_run, put_step


async def read_pieces(database: Database, run_id: UUID) -> list[list[runs.Step]]:
    reading = await runs.get(database, 1, run_id)
    return [reading.steps, *([some async for some in reading.rest] if reading.rest is not None else [])]


async def test_payloads_come_back_as_the_text_that_was_stored(database: Database) -> None:
    text = b'{ "a":1.0, "a": 12345678901234567890123, "nul":"\\u0000" }'
    await put_event(database, "e1", data=text)
    run_id = await put_run(database, status="completed", output=text)

    run, *_ = await runs.get(database, 1, run_id)

    assert run.event is not None
    assert (bytes(run.event.data), bytes(run.output)) == (text, text)


async def test_an_error_always_has_name_message_and_stack(database: Database) -> None:
    run_id = await put_run(database, status="failed")
    run, *_ = await runs.get(database, 1, run_id)
    assert msgspec.to_builtins(run.error) == {"name": "ValueError", "message": "no", "stack": ""}


async def test_a_run_outlives_its_event(database: Database) -> None:
    run_id = await put_run(database, event_id="pruned")
    assert (await runs.get(database, 1, run_id)).run.event is None


async def test_a_run_of_another_workspace_is_not_found(database: Database) -> None:
    run_id = await put_run(database)
    await put_step(database, run_id, "secret")

    with pytest.raises(NotFound):
        await runs.get(database, 2, run_id)
    assert (await runs.page(database, 2)).items == []


async def test_pages_hold_every_run_once_newest_first(database: Database) -> None:
    # Three of each minute: the id decides between them.
    ids = [await put_run(database, minute=minute) for minute in (0, 1, 2) for _ in range(3)]
    seen: list[UUID] = []
    cursor = None
    while True:
        page = await runs.page(database, 1, cursor=cursor, items_max=2)
        seen += [run.id for run in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(seen) == sorted(ids)
    assert set(seen[:3]) == set(ids[6:])


async def test_filters_narrow_a_page_together(database: Database) -> None:
    wanted = await put_run(database, minute=5, status="completed", function_id="f", event_id="e")
    await put_run(database, minute=5, status="completed", function_id="f", event_id="other")
    await put_run(database, minute=5, status="completed", function_id="other", event_id="e")
    await put_run(database, minute=5, status="queued", function_id="f", event_id="e")
    await put_run(database, minute=4, status="completed", function_id="f", event_id="e")
    await put_run(database, minute=6, status="completed", function_id="f", event_id="e")

    since, until = BEGINNING + timedelta(minutes=5), BEGINNING + timedelta(minutes=6)
    page = await runs.page(database, 1, function_id="f", event_id="e", status="completed", since=since, until=until)
    assert [run.id for run in page.items] == [wanted]
    by_function = await runs.page(database, 1, function_id="other")
    assert [run.function_id for run in by_function.items] == ["other"]


async def test_a_page_ends_early_where_its_payloads_grow_large(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "PAGE_BYTES", 1_000)
    for minute in range(5):
        await put_run(database, minute=minute, status="completed", output=b'"' + b"x" * 600 + b'"')

    first = await runs.page(database, 1)
    second = await runs.page(database, 1, cursor=first.next_cursor)
    third = await runs.page(database, 1, cursor=second.next_cursor)

    assert [len(page.items) for page in (first, second, third)] == [2, 2, 1]
    assert third.next_cursor is None


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "é",
        "\0",
        "AAAA",
        encode_cursor(("2026-01-01", "x")),
        encode_cursor(("2026-01-01T00:00:00", str(uuid4()))),
    ],
)
async def test_a_cursor_that_is_none_of_ours_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(Invalid) as refused:
        await runs.page(database, 1, cursor=cursor)
    assert [field for field, _ in refused.value.errors] == ["cursor"]


async def test_steps_come_in_the_order_in_which_they_began(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "STEPS_READ_AT_ONCE", 2)
    run_id = await put_run(database)
    for second, name in enumerate(("c", "a", "b", "a", "a")):
        await put_step(database, run_id, name, index=second, second=second // 2, group=9 - second)

    pieces = await read_pieces(database, run_id)

    assert [[(step.id, step.index) for step in some] for some in pieces] == [
        [("a", 1), ("c", 0)],
        [("a", 3), ("b", 2)],
        [("a", 4)],
    ]


async def test_steps_are_all_read_though_their_payloads_are_large(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "PAGE_BYTES", 1_000)
    run_id = await put_run(database)
    for second in range(7):
        await put_step(database, run_id, "step", index=second, second=second, output=b'"' + b"x" * 600 + b'"')

    pieces = await read_pieces(database, run_id)

    assert [len(some) for some in pieces] == [2, 2, 2, 1]
    assert [step.index for some in pieces for step in some] == list(range(7))


@pytest.mark.parametrize("count", [0, 1, 2])
async def test_a_run_whose_steps_are_few_is_read_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(runs, "STEPS_READ_AT_ONCE", 2)
    await put_event(database, "e1", data=b'{"a": 1}')
    run_id = await put_run(database, status="completed", event_id="e1", output=b"2")
    for second in range(count):
        await put_step(database, run_id, "step", index=second, second=second)

    run, steps, rest = await runs.get(database, 1, run_id)

    assert (run.id, bytes(run.output), run.event and bytes(run.event.data)) == (run_id, b"2", b'{"a": 1}')
    assert [step.index for step in steps] == list(range(count))
    assert rest is None


async def test_of_a_run_that_has_not_ended_the_steps_may_be_left_out(database: Database) -> None:
    open_run = await put_run(database, status="running")
    ended_run = await put_run(database, status="completed")
    for run_id in (open_run, ended_run):
        await put_step(database, run_id, "step")

    readings = [await runs.get(database, 1, run_id, steps_before_end=False) for run_id in (open_run, ended_run)]

    assert [len(reading.steps) for reading in readings] == [0, 1]


async def test_an_event_shows_the_runs_that_it_started(database: Database) -> None:
    await put_event(database, "e1", data=b'{"a": 1}')
    run_id = await put_run(database, event_id="e1")
    await put_run(database, event_id="e2")

    event = await events.get(database, 1, "e1")

    assert bytes(event.data) == b'{"a": 1}'
    assert [run.id for run in event.runs] == [run_id]
    assert event.runs_next_cursor is None
    await put_event(database, "e0", data=b"0")
    alone = await events.get(database, 1, "e0")
    assert (bytes(alone.data), alone.runs) == (b"0", [])
    assert (alone.name, alone.ts, alone.accepted_at, alone.effective_at) == (
        event.name,
        event.ts,
        event.accepted_at,
        event.effective_at,
    )
    with pytest.raises(NotFound):
        await events.get(database, 2, "e1")
