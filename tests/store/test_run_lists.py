"""Lists of runs: what each filter finds, where a page goes on, and what it costs."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from rotor import limits
from rotor.store import run_lists
from rotor.store.database import Connection, Database
from rotor.store.problems import Invalid
from rotor.store.run_lists import RunFilters, RunList
from rotor.store.statements import workspace_statement
from tests.store.rows import BEGINNING, put_event, put_run

MANY = 20_000
FILL = f"""
INSERT INTO events (workspace_id, id, name, data, ts, accepted_at, effective_at, position)
SELECT 1, 'e' || n, 'name' || n % 50, '{{}}', at, at, at, n
FROM generate_series(1, {MANY}) AS n, LATERAL (SELECT rotor_now() - n * interval '1 second' AS at) AS clock;
INSERT INTO runs (id, workspace_id, function_id, event_id, status, ended_at, error, changed_group, created_at)
SELECT gen_random_uuid(), 1, 'f' || n % 10, 'e' || n, CASE WHEN n % 7 = 0 THEN 'failed' ELSE 'completed' END, at,
       CASE WHEN n % 7 = 0 THEN '\\x7b7d'::bytea END, n, at
FROM generate_series(1, {MANY}) AS n, LATERAL (SELECT rotor_now() - n * interval '1 second' AS at) AS clock;
ANALYZE;
"""


async def found(database: Database, cursor: str | None = None, items_max: int = 50, **filters: Any) -> RunList:
    return await run_lists.page(database, 1, RunFilters(**filters), cursor=cursor, items_max=items_max)


async def ids(database: Database, **filters: Any) -> list[UUID]:
    return [run.id for run in (await found(database, **filters)).items]


async def test_each_filter_finds_its_runs_and_all_hold_together(database: Database) -> None:
    await put_event(database, "e1")
    first = await put_run(database, minute=1)
    failed = await put_run(database, minute=2, status="failed", function_id="other")
    late = await put_run(database, minute=3, status="completed", event_id="gone", function_id="other")
    await put_run(database, minute=4, workspace_id=2)

    assert await ids(database) == [late, failed, first]
    assert await ids(database, status="queued") == [first]
    assert await ids(database, status="failed") == [failed]
    assert await ids(database, function_id="other") == [late, failed]
    assert await ids(database, function_id="other", status="failed") == [failed]
    assert await ids(database, function_id="welcome", status="failed") == []
    assert await ids(database, event_id="e1") == [failed, first]
    assert await ids(database, event_id="e1", function_id="other", status="failed") == [failed]
    assert await ids(database, event_name="user.created") == [failed, first]
    assert await ids(database, event_name="user.created", function_id="other") == [failed]
    assert await ids(database, event_name="user.created", status="failed") == [failed]
    assert await ids(database, event_name="odd", event_id="e1") == []
    for status in (None, "failed"):
        assert (await ids(database, since=BEGINNING + timedelta(minutes=2), status=status))[-1] == failed
    assert await ids(database, until=BEGINNING + timedelta(minutes=2)) == [first]


@pytest.mark.parametrize(
    "filters", [{}, {"function_id": "welcome"}, {"event_id": "e1"}, {"event_name": "user.created"}, {"text": "ada"}]
)
async def test_pages_follow_each_other_without_a_gap(database: Database, filters: dict[str, str]) -> None:
    await put_event(database, "e1", data=b'{"name":"Ada"}')
    newest_first = [await put_run(database, minute=number) for number in reversed(range(7))]
    seen: list[UUID] = []
    cursor = None
    while True:
        page = await found(database, cursor, items_max=3, **filters)
        seen += [run.id for run in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == newest_first


async def test_a_page_says_how_far_it_looked_and_goes_on_from_there(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RUNS_LOOKED_AT", 3)
    oldest = await put_run(database, minute=0, status="completed")
    for minute in range(1, 6):
        await put_run(database, minute=minute)
    first = await found(database, status="completed")
    assert (first.items, first.looked_back_to) == ([], BEGINNING + timedelta(minutes=3))
    second = await found(database, first.next_cursor, status="completed")
    assert [run.id for run in second.items] == [oldest]
    third = await found(database, second.next_cursor, status="completed")
    assert (third.items, third.next_cursor, third.looked_back_to) == ([], None, None)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b'{"name":"Ada Lovelace"}', "ada love"),
        (b'{"name":"Ada"}', '"name":"Ada"'),
        ('{"city":"Zürich"}'.encode(), "Zürich"),
        (b'{"city":"Z\\u00FCrich"}', "Zürich"),
        (b'{"face":"\\ud83d\\ude00"}', "\U0001f600"),
        (b'{"said":"\\"no\\""}', 'said":"\\"no'),
        (b'{"said":"a \\"b\\" c"}', 'a "b" c'),
        (b'{"path":"c:\\\\temp"}', "c:\\temp"),
        (b'"100%_sure"', "100%_s"),
        (b'"\\u0000"', "u0000"),
    ],
)
async def test_text_is_found_in_payloads_however_json_wrote_it(database: Database, payload: bytes, text: str) -> None:
    await put_event(database, "e1", data=payload)
    await put_event(database, "e2")
    by_event = await put_run(database)
    by_output = await put_run(database, minute=1, event_id="e2", status="completed", output=payload)
    by_error = await put_run(database, minute=2, event_id="e2", status="failed", error=b'{"name":%b}' % payload)
    await put_run(database, minute=3, event_id="e2")
    assert await ids(database, text=text) == [by_error, by_output, by_event]
    assert await ids(database, text=text, status="failed") == [by_error]
    assert await ids(database, text="nowhere") == []


async def test_a_search_reads_a_bounded_number_of_bytes_and_runs_and_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_event(database, "e1", data=b'"' + b"x" * 999 + b'"')
    wanted = await put_run(database, minute=0, status="completed", output=b'"here"')
    for minute in range(1, 6):
        await put_run(database, minute=minute)
    for name, value in (("SEARCH_BYTES", 3_500), ("RUNS_SEARCHED", 2), ("SEARCH_BYTES", 1)):
        monkeypatch.setattr(limits, name, value)
        page = await found(database, text="here")
        pages = 1
        while not page.items:
            assert page.looked_back_to is not None
            page = await found(database, page.next_cursor, text="here")
            pages += 1
        assert [run.id for run in page.items] == [wanted]
        assert pages > 1


async def test_a_cursor_of_another_list_is_refused(database: Database) -> None:
    with pytest.raises(Invalid, match="cursor"):
        await found(database, "odd")


LISTS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "list_run_outlines": ("runs_newest", ()),
    "list_run_outlines_of_function": ("runs_function", ("f1",)),
    "list_failed_run_outlines": ("runs_failed", ()),
}


@pytest.mark.parametrize("name", LISTS)
async def test_a_page_costs_what_it_shows_or_looks_at_however_many_runs_there_are(
    database: Database, name: str
) -> None:
    """Rows and pages read, as Postgres itself counts them with the plan that servers use."""
    index, more = LISTS[name]
    async with database.connection() as connection:
        await connection.raw.execute(FILL)
        deep = await deep_place(connection)

        async def cost(status: str | None, event_name: str | None, place: tuple[Any, Any]) -> tuple[int, int]:
            explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {workspace_statement(name)}"
            plan = await explained(connection, explain, 1, status, event_name, None, *place, 1_000, 51, *more)
            scans = [node for node in nodes(plan) if node.get("Relation Name") == "runs"]
            assert {node["Index Name"] for node in scans} == {index}
            return sum(rows_read(node) for node in scans), pages_read(plan)

        newest, pages = await cost(None, None, (None, None))
        assert newest <= 51
        older, deep_pages = await cost(None, None, deep)
        assert older <= 51
        assert deep_pages <= pages + 10
        for status, event_name in ((None, "none such"), ("none such", None)):
            looked_at, _ = await cost(status, event_name, deep)
            assert looked_at <= 2 * 1_000


async def deep_place(connection: Connection) -> tuple[Any, Any]:
    """The place of a run that most are newer than."""
    row = await connection.raw.fetchrow("SELECT created_at, id FROM runs ORDER BY created_at OFFSET 2000 LIMIT 1")
    assert row is not None
    return row[0], row[1]


async def explained(connection: Connection, explain: str, *arguments: Any) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads(await connection.raw.fetchval(explain, *arguments))[0]["Plan"]
    return plan


def pages_read(plan: dict[str, Any]) -> int:
    """How many pages of the table of runs and of its index."""
    scans = [node for node in nodes(plan) if node.get("Relation Name") == "runs"]
    return sum(node["Shared Hit Blocks"] + node["Shared Read Blocks"] for node in scans)


def rows_read(node: dict[str, Any]) -> int:
    rows: int = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return rows


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]
