"""The client says what it was told to say, comes through a server that stumbles, and tells problems as errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from rotor.errors import ApiError, ConfigError, ConnectionLostError, LimitError, SerializationError
from rotor.protocol.messages import FunctionSpec, Manifest, Trigger
from rotor.sdk import client, http
from rotor.sdk.client import Rotor
from rotor.sdk.resources import NewEvent, Run, Step
from rotor.sdk.sync_client import SyncRotor
from tests.sdk.servers import serving

RUN = {"id": "r1", "function_id": "f", "status": "running", "created_at": "2026-03-01T09:30:00Z", "future": "field"}
STEP = {"id": "s", "index": 0, "op": "run", "status": "completed", "output": {"n": 1}}


class Server:
    """Answers with what a test has put in `answers`, in order, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[Callable[[web.Request], web.StreamResponse]] = []
        self.url = ""

    def answer(self, body: Any = None, status: int = 200, **headers: str) -> None:
        self.answers.append(lambda _: web.json_response(body, status=status, headers=headers))

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.asked.append((request.method, str(request.rel_url), json.loads(text) if text else None))
        self.headers.append(dict(request.headers))
        return self.answers.pop(0)(request)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    double = Server()
    async with serving(double) as double.url:
        yield double


@pytest.fixture
async def rotor(server: Server) -> AsyncIterator[Rotor]:
    async with Rotor("rk_test", server.url) as client:
        yield client


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_backoff", lambda _: 0)


def drop(request: web.Request) -> web.StreamResponse:
    """The connection breaks after the request has arrived."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@dataclass
class Contact:
    id: str


async def test_an_event_carries_the_key_and_an_id_of_its_own(server: Server, rotor: Rotor) -> None:
    server.answer({"ids": ["e1"]}, 202)
    assert await rotor.send("user.created", Contact("c1"), ts=datetime(2030, 1, 1, tzinfo=UTC)) == "e1"
    method, path, (event,) = server.asked[0]
    assert (method, path) == ("POST", "/v1/events")
    assert event.pop("id")
    assert event == {"name": "user.created", "data": {"id": "c1"}, "ts": "2030-01-01T00:00:00Z"}
    assert server.headers[0]["Authorization"] == "Bearer rk_test"


async def test_many_events_go_in_one_request(server: Server, rotor: Rotor) -> None:
    server.answer({"ids": ["a", "b"]}, 202)
    events: list[NewEvent] = [{"name": "x", "id": "a", "ts": 1_700_000_000_000}, {"name": "y", "data": [1], "id": "b"}]
    assert await rotor.send_many(events) == ["a", "b"]
    assert server.asked[0][2] == [
        {"name": "x", "data": None, "id": "a", "ts": 1_700_000_000_000},
        {"name": "y", "data": [1], "id": "b"},
    ]
    assert await rotor.send_many([]) == []


async def test_too_many_events_are_refused_before_they_are_sent(server: Server, rotor: Rotor) -> None:
    with pytest.raises(LimitError, match="EVENTS_PER_REQUEST"):
        await rotor.send_many([{"name": "x"}] * 5_001)
    with pytest.raises(SerializationError):
        await rotor.send("x", object())
    assert server.asked == []


async def test_a_send_is_tried_again_with_the_same_event_id(server: Server, rotor: Rotor) -> None:
    server.answer({"title": "Overloaded"}, 503)
    server.answers.append(drop)
    server.answer({"title": "Too many"}, 429, **{"Retry-After": "0"})
    server.answer({"ids": ["e1"]}, 202)
    assert await rotor.send("x") == "e1"
    assert len(server.asked) == 4
    assert len({events[0]["id"] for _, _, events in server.asked}) == 1


async def test_a_server_that_stays_overloaded_is_given_up(server: Server, rotor: Rotor) -> None:
    for _ in range(5):
        server.answer({"title": "Overloaded", "detail": "later"}, 503)
    with pytest.raises(ApiError, match="503 Overloaded: later"):
        await rotor.send("x")


async def test_what_would_do_harm_twice_is_not_repeated_once_it_may_have_arrived(server: Server, rotor: Rotor) -> None:
    server.answers.append(drop)
    with pytest.raises(ConnectionLostError, match="ROTOR_URL"):
        await rotor.complete_signal("s")
    assert len(server.asked) == 1


async def test_a_server_that_is_not_there_is_named() -> None:
    async with Rotor(base_url="http://127.0.0.1:9") as rotor:
        with pytest.raises(ConnectionLostError, match=r"http://127\.0\.0\.1:9"):
            await rotor.send("x")


@pytest.mark.parametrize("url", ["localhost:8484", "ftp://host", "http://"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="ROTOR_URL"):
        Rotor(base_url=url)


async def test_a_refusal_is_an_error_that_names_the_fields(server: Server, rotor: Rotor) -> None:
    problem = {"title": "Invalid", "detail": "see errors", "errors": [{"field": "name", "message": "is empty"}]}
    server.answer(problem, 422)
    with pytest.raises(ApiError) as refusal:
        await rotor.send("")
    assert (refusal.value.status, refusal.value.errors) == (422, [("name", "is empty")])


async def test_the_page_of_a_proxy_is_an_error_too(server: Server, rotor: Rotor) -> None:
    server.answers.append(lambda _: web.Response(status=404, text="<html>"))
    with pytest.raises(ApiError, match="404 Not Found"):
        await rotor.runs.get("r1")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_an_error_and_takes_no_payload_elsewhere(server: Server, rotor: Rotor, status: int) -> None:
    for _ in range(2):
        server.answer(None, status, Location="/elsewhere")
    with pytest.raises(ApiError, match="set ROTOR_URL"):
        await rotor.send("a", {})
    with pytest.raises(ApiError, match="set ROTOR_URL"):
        await anext(rotor.runs.stream("r"))
    assert [path for _, path, _ in server.asked] == ["/v1/events", "/v1/runs/r/stream"]


async def test_signal_ids_are_escaped(server: Server, rotor: Rotor) -> None:
    server.answer({"run_id": None, "delivered": False}, 202)
    completion = await rotor.complete_signal("a/b c", {"approved": True})
    assert (completion.delivered, completion.run_id) == (False, None)
    assert server.asked == [("POST", "/v1/signals/a%2Fb%20c/complete", {"approved": True})]


async def test_runs_are_read_into_typed_values(server: Server, rotor: Rotor) -> None:
    server.answer({**RUN, "event": {"id": "e", "name": "x", "data": 1, "ts": "2026-03-01T09:30:00Z"}, "steps": [STEP]})
    run = await rotor.runs.get("r1")
    assert run.created_at == datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    assert run.event is not None
    assert run.event.data == 1
    assert run.steps[0].output == {"n": 1}
    server.answer({"items": [RUN], "next_cursor": "c"})
    page = await rotor.runs.list(status="failed", since=datetime(2026, 1, 1, tzinfo=UTC), limit=5)
    assert ([run.id for run in page.items], page.next_cursor) == (["r1"], "c")
    assert server.asked[1][1] == "/v1/runs?status=failed&since=2026-01-01T00:00:00%2B00:00&limit=5"


def line(number: int, **fields: Any) -> dict[str, Any]:
    return {"number": number, "at": "2026-03-01T09:30:00Z", "level": "info", "message": f"line {number}", **fields}


async def test_a_log_is_read_page_by_page(server: Server, rotor: Rotor) -> None:
    server.answer({"items": [line(0), line(1, missed=2)], "next_cursor": "c"})
    server.answer({"items": [line(2, step_id="a", step_index=1)], "next_cursor": None})
    lines = [one async for one in rotor.runs.logs("r1")]
    assert [(one.message, one.missed, one.step_id) for one in lines] == [
        ("line 0", 0, None),
        ("line 1", 2, None),
        ("line 2", 0, "a"),
    ]
    assert [path for _, path, _ in server.asked] == ["/v1/runs/r1/logs", "/v1/runs/r1/logs?cursor=c"]


async def test_a_log_is_followed_until_a_moment_after_the_end_of_its_run_and_each_line_told_once(
    server: Server, rotor: Rotor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rotor.sdk.client.LOG_FOLLOWED_EVERY_SECONDS", 0)
    for status, lines in (("running", 1), ("running", 1), ("completed", 2), (None, 3)):
        if status is not None:
            server.answer({**RUN, "status": status})
        server.answer({"items": [line(number) for number in range(lines)], "next_cursor": None})
    assert [one.number async for one in rotor.runs.logs("r1", follow=True)] == [0, 1, 2]


async def test_runs_are_steered(server: Server, rotor: Rotor) -> None:
    server.answer({**RUN, "status": "cancelled"})
    assert (await rotor.runs.cancel("r1")).ended
    server.answer({"run_id": "r2"}, 202)
    assert await rotor.runs.replay("r1") == "r2"
    assert [path for _, path, _ in server.asked] == ["/v1/runs/r1/cancel", "/v1/runs/r1/replay"]


async def test_functions_events_and_apps_are_reached(server: Server, rotor: Rotor) -> None:
    function = {"id": "f", "triggers": [{"event": "x"}], "paused_at": "2026-03-01T09:30:00Z"}
    server.answer({"items": [function], "next_cursor": None})
    assert (await rotor.functions.list()).items[0].triggers[0].event == "x"
    for call in (rotor.functions.get, rotor.functions.pause, rotor.functions.resume):
        server.answer(function)
        assert (await call("f")).paused_at is not None
    server.answers.append(lambda _: web.Response(status=204))
    await rotor.functions.delete("f")
    server.answer({"id": "e", "name": "x", "runs": [RUN]})
    assert (await rotor.events.get("e")).runs[0].id == "r1"
    server.answer({"functions": [{"id": "f", "result": "created"}]}, 201)
    manifest = Manifest(functions=[FunctionSpec(id="f", triggers=[Trigger(event="x")])], serve_url="http://app/")
    assert await rotor.apps.register(manifest) == ["f"]


def stream(*events: tuple[str, int, Any], cut: int = 0) -> Callable[[web.Request], web.StreamResponse]:
    text = "".join(f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n" for name, number, data in events)
    return lambda _: web.Response(text=": hello\n\n" + text[: len(text) - cut], content_type="text/event-stream")


async def test_a_stream_goes_on_where_it_was_cut_off(server: Server, rotor: Rotor) -> None:
    server.answers.append(stream(("run", 1, RUN), ("step", 2, STEP), ("step", 3, STEP), cut=1))
    server.answers.append(drop)
    server.answers.append(stream(("step", 3, STEP), ("run", 4, {**RUN, "status": "completed"})))
    changes = [change async for change in rotor.runs.stream("r1")]
    assert [type(change) for change in changes] == [Run, Step, Step, Run]
    assert [headers.get("Last-Event-ID") for headers in server.headers] == [None, "2", "2"]


async def test_a_stream_with_nothing_left_to_tell_ends(server: Server, rotor: Rotor) -> None:
    server.answers.append(lambda _: web.Response(status=204))
    server.answer({**RUN, "status": "failed"})
    assert [change async for change in rotor.runs.stream("r1")] == []


async def test_waiting_gives_the_run_as_it_ended(server: Server, rotor: Rotor) -> None:
    server.answer({**RUN, "status": "completed", "output": 7, "steps": [STEP]})
    ended = await rotor.runs.wait("r1", timeout="10s")
    assert (ended.output, ended.steps[0].output) == (7, {"n": 1})
    assert server.asked == [("GET", "/v1/runs/r1/wait", None)]


async def test_waiting_goes_on_until_the_run_has_ended(
    server: Server, rotor: Rotor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ASKED_AGAIN_AFTER_SECONDS", 0)
    server.answer(RUN)
    server.answers += [drop] * 12  # more than one call tries again
    server.answer({**RUN, "status": "failed"})
    assert (await rotor.runs.wait("r1")).status == "failed"


async def test_waiting_is_given_up_where_the_server_stays_away(
    server: Server, rotor: Rotor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "GIVEN_UP_AFTER_SECONDS", 0)
    server.answers += [drop] * 12
    with pytest.raises(ConnectionLostError):
        await rotor.runs.wait("r1")


async def test_waiting_has_an_end(server: Server, rotor: Rotor) -> None:
    for _ in range(100):
        server.answer(RUN)
    with pytest.raises(TimeoutError, match=r"r1 has not ended within 0\.3"):
        await rotor.runs.wait("r1", timeout=0.3)


async def test_many_waits_and_streams_keep_nothing_else_from_the_server() -> None:
    asked, may_answer = asyncio.Semaphore(0), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/events":
            return web.json_response({"ids": ["e1"]}, status=202)
        asked.release()
        await may_answer.wait()
        ended = {**RUN, "status": "completed"}
        return stream(("run", 1, ended))(request) if "stream" in request.path else web.json_response(ended)

    async def follow(rotor: Rotor) -> Run:
        return [change async for change in rotor.runs.stream("r1") if isinstance(change, Run)][-1]

    async with serving(answer) as url, Rotor("rk_test", url) as rotor, asyncio.timeout(60):
        lasting = [asyncio.create_task(rotor.runs.wait("r1")) for _ in range(101)]
        lasting += [asyncio.create_task(follow(rotor)) for _ in range(101)]
        for _ in lasting:
            await asked.acquire()
        assert await rotor.send("x") == "e1"
        may_answer.set()
        assert {run.status for run in await asyncio.gather(*lasting)} == {"completed"}


async def test_a_run_that_is_not_there_is_not_waited_for(server: Server, rotor: Rotor) -> None:
    server.answer({"title": "Not Found"}, 404)
    with pytest.raises(ApiError, match="404"):
        await rotor.runs.wait("r1")


async def test_the_blocking_client_does_the_same(server: Server) -> None:
    def use() -> tuple[str, list[str], bool]:
        with SyncRotor("rk_test", server.url) as rotor:
            sent = rotor.send("x", {"a": 1}, id="e1")
            return sent, [change.status for change in rotor.runs.stream("r1")], rotor.runs.wait("r1", timeout=60).ended

    server.answer({"ids": ["e1"]}, 202)
    ended = {**RUN, "status": "completed"}
    server.answers.append(stream(("step", 1, STEP), ("run", 2, ended)))
    server.answer(ended)
    assert await asyncio.to_thread(use) == ("e1", ["completed", "completed"], True)
    assert server.headers[0]["Authorization"] == "Bearer rk_test"


def test_the_blocking_client_has_every_method_of_the_async_one() -> None:
    rotor = SyncRotor()
    for part in ("runs", "events", "functions", "apps"):
        target = getattr(rotor, part)._target
        public = [name for name in dir(target) if not name.startswith("_")]
        assert [name for name in public if not hasattr(getattr(rotor, part), name)] == []
    assert rotor.send.__doc__ == Rotor.send.__doc__


def test_a_client_works_on_one_loop_after_another() -> None:
    rotor = Rotor()

    async def use() -> str:
        double = Server()
        double.answer({"ids": ["e1"]}, 202)
        async with serving(double) as url:
            rotor._api._http.base_url = url
            return await rotor.send("x")

    assert [asyncio.run(use()), asyncio.run(use())] == ["e1", "e1"]
