"""The pages of lists: what each shows, in which order, where it goes on, and that it is of one workspace."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from markupsafe import escape

from rotor.server.server import Server
from rotor.store import figures, waiting, workers
from rotor.store.database import Database
from rotor.store.pages import encode_cursor
from tests.dashboard import scenery
from tests.dashboard.conftest import Browser
from tests.dashboard.scenery import EVENT, FUNCTION, HOSTILE, RUNS, SIGNAL

PAGES = (
    "",
    "/overview",
    "/functions",
    "/functions?cursor=" + encode_cursor(("a",)),
    "/functions/" + quote(FUNCTION, safe=""),
    "/events",
    "/events/" + quote(EVENT, safe=""),
    "/waiting",
    "/workers",
)
SHOWN = str(escape(HOSTILE))


@pytest.fixture
async def stage(server: Server) -> Database:
    await scenery.build(server.store.database)
    return server.store.database


async def add_events(database: Database, count: int) -> None:
    async with database.connection() as connection:
        await connection.raw.execute(
            "INSERT INTO events (workspace_id, id, name, data, ts, accepted_at, effective_at, position)"
            " SELECT 1, 'n' || n, 'many', '1', at, at, at, n FROM generate_series(1, $1::int) AS n,"
            " LATERAL (SELECT rotor_now() - n * interval '1 minute' AS at) AS clock",
            count,
        )


async def test_another_workspace_sees_nothing_on_any_page(stage: Database, neighbour: Browser) -> None:
    for path in PAGES:
        shown = await neighbour.get(f"/dashboard{path}")
        assert shown.status in (200, 404)
        assert SHOWN not in shown.text
        assert "app.example.com" not in shown.text
        assert not [run for run in RUNS.values() if run in shown.text]


async def test_who_is_inside_stays_inside_where_something_is_not_there(visitor: Browser, stranger: Browser) -> None:
    missing = await visitor.get("/dashboard/events/none")
    assert missing.status == 404
    assert 'aria-label="Main"' in missing.text
    assert 'aria-label="Main"' not in (await stranger.get("/dashboard/login")).text


async def test_every_page_has_a_stream_of_its_parts(stage: Database, visitor: Browser) -> None:
    for path in PAGES:
        shown = (await visitor.get(f"/dashboard{path}")).text
        for address in re.findall(r'data-live="([^"]+)"', shown):
            url = visitor.url + address.replace("&amp;", "&")
            async with visitor.session.get(url) as answer:
                assert answer.status == 200
                assert answer.content_type == "text/event-stream"
                assert await answer.content.readline() == b"retry: 1000\n"


async def test_a_function_shows_its_triggers_its_figures_and_its_runs(stage: Database, visitor: Browser) -> None:
    listed = (await visitor.get("/dashboard/functions")).text
    assert "0 9 * * 1" in listed
    assert "50 %" in listed
    assert len(re.findall(r'class="tick is-', listed)) == len(RUNS)
    shown = (await visitor.get("/dashboard/functions/" + quote(FUNCTION, safe=""))).text
    for wanted in ("data.a == 1", "Europe/Paris", "50 %", RUNS["queued"], 'action="/dashboard/functions/pause"'):
        assert wanted in shown
    assert str(escape(f'"{HOSTILE[:10]}')) in shown.partition("<textarea")[2]  # the latest event's data, to send again
    assert 'action="/dashboard/functions/resume"' in (await visitor.get("/dashboard/functions/served")).text
    assert (await visitor.get("/dashboard/functions/none")).status == 404


async def test_events_are_listed_newest_first_by_name_and_page(stage: Database, visitor: Browser) -> None:
    await add_events(stage, 60)
    newest = await visitor.get("/dashboard/events")
    assert newest.text.index(">many<") > newest.text.index("deferred")
    for first in ("/dashboard/events", "/dashboard/events?name=many"):
        path, seen = first, []
        while path:
            shown = (await visitor.get(path)).text
            seen += re.findall(r'<td class="id off">(n\d+)<', shown)
            older = re.search(r'rel="next" href="([^"]+)"', shown)
            path = older[1].replace("&amp;", "&") if older else ""
        assert seen == [f"n{number}" for number in range(1, 61)]
    assert "deferred" not in (await visitor.get("/dashboard/events?name=many")).text
    found = await visitor.get("/dashboard/events?q=n7")
    assert (found.status, found.headers["location"]) == (303, "/dashboard/events/n7")
    assert (await visitor.get("/dashboard/events?q=none")).status == 404
    for wrong in ("cursor=odd", "name=many&cursor=odd", "name=%00"):
        assert (await visitor.get(f"/dashboard/events?{wrong}")).status == 422


async def test_an_event_shows_the_runs_it_started_and_the_waits_it_ended(stage: Database, visitor: Browser) -> None:
    shown = (await visitor.get("/dashboard/events/" + quote(EVENT, safe=""))).text
    for run in RUNS.values():
        assert run in shown
    ended = shown.partition("Waits that it ended")[2]
    assert RUNS["completed"] in ended
    assert RUNS["failed"] not in ended
    assert "None: no run" in (await visitor.get("/dashboard/events/later")).text


async def test_signals_that_runs_wait_for_are_listed_page_by_page(stage: Database, visitor: Browser) -> None:
    async with stage.connection() as connection:
        await connection.raw.execute(
            "INSERT INTO signals (workspace_id, id, run_id, step_id, step_index)"
            " SELECT 1, 'one-' || n, $1, 's', 0 FROM generate_series(10, 49) AS n",
            RUNS["running"],
        )
        await connection.raw.execute(
            "INSERT INTO signals (workspace_id, id, run_id, step_id, step_index, data, completed_at)"
            " VALUES (1, 'done', $1, 's', 0, '1', rotor_now())",
            RUNS["running"],
        )
    path, seen = "/dashboard/waiting", []
    while path:
        shown = (await visitor.get(path)).text
        seen += re.findall(r'<h3 class="id">([^<]+)<', shown)
        older = re.search(r'rel="next" href="([^"]+)"', shown)
        path = older[1] if older else ""
    assert seen == [str(escape(SIGNAL)), *(f"one-{number}" for number in reversed(range(10, 50)))]


async def test_the_next_deadlines_come_soonest_first(stage: Database) -> None:
    soon, later = await waiting.next_deadlines(stage, 1, items_max=5)
    assert (soon.op, later.op) == ("sleep", "wait_for_signal")
    assert soon.deadline < later.deadline


async def test_workers_and_apps_are_those_of_every_server(stage: Database, visitor: Browser) -> None:
    shown = (await visitor.get("/dashboard/workers")).text
    assert "1 of 10 in use" in shown
    assert "https://app.example.com/api" in shown
    assert "not reached" in shown
    await workers.note_calls(stage, {(1, "https://app.example.com/api"): True})
    assert "not reached" not in (await visitor.get("/dashboard/workers")).text
    await workers.note_calls(stage, {(1, "https://app.example.com/api"): False})
    (app,) = await workers.apps(stage, 1, items_max=5)
    assert app.answered_at is not None
    assert app.unreached_at is not None


async def test_the_overview_counts_the_last_hour(stage: Database, visitor: Browser) -> None:
    minutes = await figures.last_hour(stage, 1)
    assert len(minutes) == 60
    assert sum(minute.created for minute in minutes) == len(RUNS)
    assert (minutes[-1].ended + minutes[-2].ended, minutes[-1].failed + minutes[-2].failed) == (3, 1)
    assert [minute.created for minute in await figures.last_hour(stage, 2)] == [0] * 60
    open_runs = await figures.open_runs(stage, 1)
    assert (open_runs.due, open_runs.running) == (0, 1)
    shown = (await visitor.get("/dashboard/overview")).text
    assert "1 of 3 failed" in shown
    assert shown.count('role="img"') == 4
    assert RUNS["failed"] in shown.partition("Latest failures")[2]
    assert "Latest failures" not in (await visitor.get("/dashboard/functions")).text


async def test_durations_are_told_of_completed_runs_alone(database: Database) -> None:
    async with database.connection() as connection:
        await connection.raw.execute(
            "INSERT INTO runs (id, workspace_id, function_id, event_id, status, ended_at, error, changed_group,"
            " created_at)"
            " SELECT gen_random_uuid(), 1, 'f', 'e', CASE WHEN n <= 100 THEN 'completed' ELSE 'failed' END,"
            " rotor_now() + n * interval '1 second', CASE WHEN n > 100 THEN '\\x7b7d'::bytea END, 1, rotor_now()"
            " FROM generate_series(1, 125) AS n"
        )
    done = await figures.of_functions(database, 1, ["f", "none"])
    assert done["f"].success == 0.8
    assert (done["f"].seconds_p50, done["f"].seconds_p95) == (50.5, 95.05)
    assert (done["none"].runs, done["none"].success) == (0, None)


@pytest.mark.parametrize(
    "query",
    ["within=9y", "since=soon", "until=2026-13-01T00:00", "status=odd", "name=%00", "cursor=odd", "q=" + "x" * 300],
)
async def test_a_filter_that_cannot_be_is_refused_by_its_name(visitor: Browser, query: str) -> None:
    answered = await visitor.get(f"/dashboard?{query}")
    assert answered.status == 422
    assert query.partition("=")[0] in answered.text
