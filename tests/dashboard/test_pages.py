"""Who may come in, what pages show, and what forms do."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import quote
from uuid import UUID

import pytest

from rotor.protocol.json import Raw
from rotor.protocol.messages import FunctionSpec, Trigger
from rotor.server.server import Server
from rotor.store import functions, runs
from rotor.store.intake import NewEvent
from rotor.store.keys import Keys
from rotor.store.sessions import SESSION
from tests.dashboard.conftest import Browser
from tests.store.rows import BEGINNING, put_run, put_step

HOSTILE = '</pre></script><script>alert(1)</script><img src=x onerror="alert(2)">'


@pytest.fixture
async def run_id(server: Server) -> UUID:
    return await start_run(server)


async def start_run(server: Server) -> UUID:
    """A run of the workspace `default` that is queued, for no worker serves it."""
    database = server.store.database
    spec = FunctionSpec(id="welcome", triggers=[Trigger(event="user.created"), Trigger(cron="0 9 * * 1")], retries=3)
    await functions.register(database, 1, [spec])
    data = Raw(b'{"name": "Ada"}')
    await server.store.intake.accept(1, [NewEvent("user.created", data, "e1")])
    return (await runs.page(database, 1, event_id="e1")).items[0].id


async def waiting_run(server: Server) -> UUID:
    run_id = await put_run(server.store.database, status="waiting")
    await put_step(
        server.store.database,
        run_id,
        "approval",
        op="wait_for_signal",
        status="waiting",
        ended_at=None,
        waits_for="signal:ok-1",
    )
    return run_id


# --- the door


async def test_a_stranger_is_sent_to_the_login_and_back_to_the_page(stranger: Browser, run_id: UUID, key: str) -> None:
    page = f"/dashboard/runs/{run_id}?step=x"
    refused = await stranger.get(page)
    assert refused.status == 303
    assert refused.headers["location"] == f"/dashboard/login?next={quote(page, safe='')}"
    answered = await stranger.post("/dashboard/login", {"key": key, "next": page})
    assert (answered.status, answered.headers["location"]) == (303, page)
    assert (await stranger.get(f"/dashboard/runs/{run_id}")).status == 200


@pytest.mark.parametrize(
    "place", ["https://evil.example", "//evil.example", "/v1/runs", "/dashboard\\..", "/dashboardx"]
)
async def test_the_login_leads_nowhere_else(stranger: Browser, key: str, place: str) -> None:
    answered = await stranger.post("/dashboard/login", {"key": key, "next": place})
    assert answered.headers["location"] == "/dashboard"


async def test_a_wrong_key_opens_nothing(stranger: Browser) -> None:
    answered = await stranger.log_in("rk_wrong")
    assert answered.status == 403
    assert "unknown, revoked or expired" in answered.text
    assert "set-cookie" not in answered.headers


async def test_without_its_database_the_door_says_so(server: Server, stranger: Browser, visitor: Browser) -> None:
    token = "rotor_session=rs_1_" + "0" * 64 + "_0"
    await server.store.database.close()
    for answered in (
        await stranger.get("/dashboard/login", cookie=token),
        await stranger.log_in("rk_12345678_x"),
        await stranger.get("/dashboard", cookie=token),
        await stranger.get("/links/rl_1_9999999999_eA_00"),
    ):
        assert (answered.status, answered.headers["retry-after"]) == (503, "1")
        assert "does not answer" in answered.text


async def test_the_cookie_is_for_this_site_alone_and_for_no_script(stranger: Browser, key: str) -> None:
    cookie = (await stranger.log_in(key)).headers["set-cookie"].lower()
    assert {"httponly", "samesite=strict", "path=/dashboard"} <= {part.strip() for part in cookie.split(";")}
    assert key.lower() not in cookie
    assert "secure" not in cookie
    answered = await stranger.post("/dashboard/login", {"key": key}, **{"x-forwarded-proto": "https"})
    assert "; secure" in answered.headers["set-cookie"].lower()


async def test_a_forged_cookie_opens_nothing(stranger: Browser, key: str) -> None:
    token = (await stranger.log_in(key)).headers["set-cookie"].split(";")[0].partition("=")[2]
    prefix, expiry, key_hash, mac = token.split("_")
    forged = [
        f"{prefix}_{int(expiry) + 1}_{key_hash}_{mac}",
        f"{prefix}_{expiry}_{'0' * 64}_{mac}",
        f"{prefix}_{expiry}_{key_hash}_{'0' * 64}",
        "rs_1_2",
    ]
    stranger.session.cookie_jar.clear()
    for one in forged:
        assert (await stranger.get("/dashboard", cookie=f"rotor_session={one}")).status == 303
    assert (await stranger.get("/dashboard", cookie=f"rotor_session={token}")).status == 200


async def test_a_session_ends_by_time(server: Server, visitor: Browser) -> None:
    server.store.database.advance(SESSION - timedelta(minutes=1))
    assert (await visitor.get("/dashboard")).status == 200
    server.store.database.advance(timedelta(minutes=2))
    assert (await visitor.get("/dashboard")).status == 303


async def test_a_session_ends_with_its_key(
    server: Server, stranger: Browser, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stranger.log_in(key)
    keys = Keys(server.store.database)
    await keys.revoke((await keys.list())[0].id)
    # What the server remembers of the key grows old.
    monkeypatch.setattr("rotor.store.recent.monotonic", lambda: float("inf"))
    assert (await stranger.get("/dashboard")).status == 303


async def test_a_session_may_what_its_key_may(server: Server, stranger: Browser, run_id: UUID) -> None:
    keys = Keys(server.store.database)
    blind = (await keys.create(scopes=["send", "operate"])).key
    assert "lacks the scope read" in (await stranger.log_in(blind)).text
    await stranger.log_in((await keys.create(scopes=["read"])).key)

    page = await stranger.get(f"/dashboard/runs/{run_id}")
    assert page.status == 200
    assert "Cancel</button>" not in page.text
    assert "Pause</button>" not in (await stranger.get("/dashboard/functions")).text
    for path in (f"/dashboard/runs/{run_id}/cancel", "/dashboard/functions/pause", "/dashboard/functions/send"):
        refused = await stranger.post(path, {"form_token": page.form_token, "name": "a", "data": "1"})
        assert refused.status == 403
        assert "lacks the scope" in refused.text
    assert await runs.status(server.store.database, 1, run_id) == "queued"
    assert (await stranger.post("/dashboard/logout", {"form_token": page.form_token})).status == 303


async def test_logging_out_forgets_the_session(visitor: Browser) -> None:
    token = (await visitor.get("/dashboard")).form_token
    assert (await visitor.post("/dashboard/logout", {"form_token": token})).status == 303
    assert (await visitor.get("/dashboard")).status == 303


async def test_a_form_of_another_site_changes_nothing(server: Server, visitor: Browser, run_id: UUID) -> None:
    path = f"/dashboard/runs/{run_id}/cancel"
    token = (await visitor.get(f"/dashboard/runs/{run_id}")).form_token
    for origin in ("https://evil.example", "null", "http://[", visitor.url.replace("http", "ftp"), None):
        assert (await visitor.post(path, {"form_token": token}, origin=origin)).status == 403
    for fields in ({}, {"form_token": "0" * 64}, {"form_token": "\u00e9"}):
        assert (await visitor.post(path, fields)).status == 403
    assert await runs.status(server.store.database, 1, run_id) == "queued"
    assert (await visitor.post(path, {"form_token": token})).status == 303
    assert await runs.status(server.store.database, 1, run_id) == "cancelled"


async def test_a_form_token_of_another_session_is_refused(visitor: Browser, neighbour: Browser, run_id: UUID) -> None:
    token = (await neighbour.get("/dashboard")).form_token
    assert (await visitor.post(f"/dashboard/runs/{run_id}/cancel", {"form_token": token})).status == 403


async def test_in_development_nobody_logs_in_and_foreign_pages_are_refused(
    dev_server: Server, developer: Browser
) -> None:
    run_id = await start_run(dev_server)
    assert (await developer.get(f"/dashboard/runs/{run_id}")).status == 200
    assert (await developer.get("/dashboard", host="evil.example")).status == 403
    for origin in ("https://evil.example", "null", None):
        assert (await developer.post(f"/dashboard/runs/{run_id}/cancel", {}, origin=origin)).status == 403
    assert (await developer.post(f"/dashboard/runs/{run_id}/cancel", {})).status == 303


async def test_every_answer_lets_nothing_foreign_run(visitor: Browser, run_id: UUID) -> None:
    for path in ("/dashboard", f"/dashboard/runs/{run_id}", "/dashboard/functions", "/dashboard/runs/none"):
        answered = await visitor.get(path)
        policy = answered.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answered.headers["x-content-type-options"] == "nosniff"
        assert answered.headers["cache-control"] == "no-store"
        assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son\w+=|https?://", answered.text)


# --- walls


async def test_another_workspace_sees_and_touches_nothing(server: Server, neighbour: Browser, run_id: UUID) -> None:
    token = (await neighbour.get("/dashboard")).form_token
    for path in (f"/dashboard/runs/{run_id}", f"/dashboard/runs/{run_id}/live", "/dashboard/events/e1"):
        assert (await neighbour.get(path)).status == 404
    for action in ("cancel", "replay"):
        answered = await neighbour.post(f"/dashboard/runs/{run_id}/{action}", {"form_token": token})
        assert answered.status == 404
    paused = await neighbour.post("/dashboard/functions/pause", {"form_token": token, "function": "welcome"})
    assert paused.status == 404
    assert str(run_id) not in (await neighbour.get("/dashboard")).text
    assert "welcome" not in (await neighbour.get("/dashboard/functions")).text
    assert await runs.status(server.store.database, 1, run_id) == "queued"


# --- what is shown


async def test_a_hostile_payload_stays_text_wherever_it_stands(server: Server, visitor: Browser) -> None:
    database = server.store.database
    name = HOSTILE[:200]
    await functions.register(database, 1, [FunctionSpec(id=name, triggers=[Trigger(event=name)], retries=1)])
    text = msgspec_text(HOSTILE)
    await server.store.intake.accept(1, [NewEvent(name, Raw(text), name)])
    (run,) = (await runs.page(database, 1)).items
    failure = b'{"name":%b,"message":%b,"stack":%b}' % (text, text, text)
    await put_step(database, run.id, name, output=text)
    await put_step(database, run.id, "bad", status="failed", error=failure)
    await put_step(
        database, run.id, "gate", op="wait_for_signal", status="waiting", ended_at=None, waits_for=f"signal:{name}"
    )
    for path in (
        "/dashboard",
        f"/dashboard?function={quote(name, safe='')}",
        f"/dashboard?event={quote(name, safe='')}",
        "/dashboard/functions",
        f"/dashboard/events/{quote(name, safe='')}",
        f"/dashboard/runs/{run.id}",
        f"/dashboard/runs/{run.id}?step={quote(name, safe='')}&index=0",
        f"/dashboard/runs/{run.id}?step=bad&index=0",
        f"/dashboard/events/{quote(HOSTILE * 3, safe='')}",
    ):
        answered = await visitor.get(path)
        assert "<script>" not in answered.text
        assert "<img src=x" not in answered.text
        if answered.status == 200:
            assert "alert(1)" in answered.text


def msgspec_text(text: str) -> bytes:
    return b'"' + text.replace('"', '\\"').encode() + b'"'


async def test_runs_are_listed_by_function_status_event_and_page(server: Server, visitor: Browser) -> None:
    database = server.store.database
    wanted = [await put_run(database, minute=number) for number in range(60)]
    other = await put_run(database, minute=99, status="completed", function_id="other", event_id="e2")
    first = await visitor.get("/dashboard")
    assert str(other) in first.text
    assert str(wanted[0]) not in first.text
    older = re.search(r'rel="next" href="([^"]+)"', first.text)
    assert older is not None
    assert str(wanted[0]) in (await visitor.get(older[1])).text
    for query in ("function=other", "status=completed", "event=e2", "event=e2&function=other"):
        shown = (await visitor.get(f"/dashboard?{query}")).text
        assert str(other) in shown
        assert str(wanted[59]) not in shown
    found = await visitor.get(f"/dashboard?q={other}")
    assert (found.status, found.headers["location"]) == (303, f"/dashboard/runs/{other}")


@pytest.mark.parametrize(
    "query",
    [
        "status=odd",
        "cursor=odd",
        "function=%00",
        "since=0001-01-01T00:00%2B14:00",
        "until=9999-12-31T23:59-14:00",
        "cursor=WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzE0OjAwIiwiMDE5N2M4ZWEtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAwIl0",
    ],
)
async def test_a_filter_that_cannot_be_is_refused_by_name(visitor: Browser, query: str) -> None:
    answered = await visitor.get(f"/dashboard?{query}")
    assert answered.status == 422
    assert query.partition("=")[0] in answered.text


@pytest.mark.parametrize("path", ["runs/odd", f"runs/{UUID(int=7)}", "events/none", "events/%00"])
async def test_what_is_not_there_is_told(visitor: Browser, path: str) -> None:
    assert (await visitor.get(f"/dashboard/{path}")).status == 404


@pytest.mark.parametrize("query", ["step=none", "step=a&index=x", "step=a&index=99999999999999999", "step=%00"])
async def test_a_step_that_is_not_there_is_told(visitor: Browser, run_id: UUID, query: str) -> None:
    assert (await visitor.get(f"/dashboard/runs/{run_id}?{query}")).status == 404


async def test_a_run_shows_its_event_its_steps_and_why_it_waits(server: Server, visitor: Browser, run_id: UUID) -> None:
    await put_step(server.store.database, run_id, "fetch", output=b'{"score": 7}')
    shown = (await visitor.get(f"/dashboard/runs/{run_id}?step=fetch&index=0")).text
    assert "&#34;name&#34;: &#34;Ada&#34;" in shown
    assert "&#34;score&#34;: 7" in shown
    assert "No worker is connected" in shown
    assert 'id="s-0-fetch"' in shown


async def test_a_run_of_1000_steps_is_one_quick_page(server: Server, visitor: Browser) -> None:
    run_id = await put_run(server.store.database, status="completed", ended_at=BEGINNING + timedelta(hours=1))
    async with server.store.database.connection() as connection:
        await connection.raw.execute(
            "INSERT INTO steps (run_id, id, index, op, status, output, started_at, ended_at, settled_group, position)"
            " SELECT $1, CASE WHEN n < 500 THEN 'fan-' || n ELSE repeat(chr(97 + n % 26), 1 + n % 9) END, n, 'run',"
            " 'completed', convert_to('\"x\"', 'UTF8'), $2::timestamptz + greatest(n, 500) * interval '1 second',"
            " $2::timestamptz + (greatest(n, 500) + 1) * interval '1 second', 1, n FROM generate_series(0, 999) AS n",
            run_id,
            BEGINNING,
        )
    shown = (await visitor.get(f"/dashboard/runs/{run_id}")).text
    assert "fan-# \u00d7500" in shown
    assert len(shown) < 400_000
    group = (await visitor.get(f"/dashboard/runs/{run_id}?step=fan-0&index=0&group=1")).text
    assert ">fan-499 #500<" in group


async def test_static_files_are_kept_for_good_under_the_name_of_their_content(visitor: Browser) -> None:
    page = (await visitor.get("/dashboard")).text
    paths = set(re.findall(r'"(/dashboard/static/[^"]+)"', page))
    assert len(paths) == 4
    for path in paths:
        answered = await visitor.get(path)
        assert answered.status == 200
        assert "immutable" in answered.headers["cache-control"]
    assert (await visitor.get("/dashboard/static/x/../../door.py")).status == 404


# --- what is done


async def test_a_replay_leads_to_the_new_run(visitor: Browser, run_id: UUID) -> None:
    token = (await visitor.get(f"/dashboard/runs/{run_id}")).form_token
    answered = await visitor.post(f"/dashboard/runs/{run_id}/replay", {"form_token": token})
    assert answered.status == 303
    assert str(run_id) in (await visitor.get(answered.headers["location"])).text


async def test_a_signal_is_completed_once_and_with_json_only(server: Server, visitor: Browser) -> None:
    run_id = await waiting_run(server)
    page = await visitor.get(f"/dashboard/runs/{run_id}")
    assert 'value="ok-1"' in page.text
    fields = {"form_token": page.form_token, "signal": "ok-1"}
    path = f"/dashboard/runs/{run_id}/signal"
    refused = await visitor.post(path, {**fields, "data": "{approved}"})
    assert refused.status == 422
    assert "data" in refused.text
    assert (await visitor.post(path, {**fields, "data": '{"approved": true}'})).status == 303
    assert (await visitor.post(path, {**fields, "data": "1"})).status == 409


async def test_a_function_is_paused_and_resumed(server: Server, visitor: Browser, run_id: UUID) -> None:
    page = await visitor.get("/dashboard/functions")
    assert "0 9 * * 1" in page.text
    assert f"/dashboard/runs/{run_id}" in page.text
    fields = {"form_token": page.form_token, "function": "welcome"}
    await visitor.post("/dashboard/functions/pause", fields)
    assert (await functions.get(server.store.database, 1, "welcome")).paused_at is not None
    assert "is paused" in (await visitor.get(f"/dashboard/runs/{run_id}")).text
    await visitor.post("/dashboard/functions/resume", fields)
    assert (await functions.get(server.store.database, 1, "welcome")).paused_at is None


async def test_a_test_event_starts_a_run(visitor: Browser, run_id: UUID) -> None:
    token = (await visitor.get("/dashboard/functions")).form_token
    fields = {"form_token": token, "name": "user.created", "data": '{"a": 1}'}
    sent = await visitor.post("/dashboard/functions/send", fields)
    assert sent.status == 303
    shown = (await visitor.get(sent.headers["location"])).text
    assert "/dashboard/runs/" in shown
    assert str(run_id) not in shown
    for name, data in (("rotor/odd", "{}"), ("rotor/cancel.run", "{}"), ("", "{}"), ("x", "NaN"), ("x", "")):
        refused = await visitor.post("/dashboard/functions/send", {**fields, "name": name, "data": data})
        assert refused.status == 422
