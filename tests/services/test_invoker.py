"""A run that is served over HTTP is invoked by a signed post, and whatever becomes of the post, the run goes on."""

from __future__ import annotations

import asyncio
import socket
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from aiohttp import ThreadedResolver, web
from aiohttp.test_utils import TestServer

from rotor import limits
from rotor.engine.arrivals import Cancelled, FromHolder
from rotor.protocol.invocations import Invocation, InvocationResult
from rotor.protocol.messages import RunCompleted, RunMessage
from rotor.protocol.signing import verify
from rotor.services import connector
from rotor.services.invoker import Invoker
from rotor.services.keeper import Keeper
from rotor.services.workers import Workers
from rotor.store import leases as leases_of_store
from rotor.store.claims import ClaimedInvocation, claim_invocations
from rotor.store.destinations import Destinations
from rotor.store.signing_keys import SigningKeys
from rotor.store.store import Store
from rotor.store.workers import apps
from tests import messages
from tests.crashes.bench import until
from tests.store.actors import begin, fire_deadlines, serve
from tests.store.tables import locked, run_row, select, status_of, step_status, until_blocked

Answer = Callable[[web.Request, Invocation], Awaitable[web.StreamResponse]]


class App:
    """An app behind HTTP that answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Answer = says()
        self.requests: list[tuple[bytes, dict[str, str]]] = []
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((body, dict(request.headers)))
        return await self.answer(request, msgspec.json.decode(body, type=Invocation))


def says(*made: Callable[[str], RunMessage]) -> Answer:
    """An answer that holds one message of each maker, about the invoked run."""

    async def answer(_: web.Request, invocation: Invocation) -> web.StreamResponse:
        result = InvocationResult(messages=[make(invocation.run.run_id) for make in made])
        return web.Response(body=msgspec.json.encode(result))

    return answer


def status(code: int, body: str | bytes = "") -> Answer:
    async def answer(_: web.Request, __: Invocation) -> web.StreamResponse:
        return web.Response(status=code, body=body)

    return answer


async def breaks_off(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def breaks_off_its_answer(request: web.Request, _: Invocation) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"content-length": "100"})
    await answer.prepare(request)
    await answer.write(b"{")
    return await breaks_off(request)


@pytest.fixture
async def app(store: Store) -> AsyncIterator[App]:
    app = App()
    application = web.Application()
    application.router.add_post("/api/rotor", app.serve)
    async with TestServer(application) as server:
        app.url = str(server.make_url("/api/rotor"))
        await serve(store, "f", serve_url=app.url)
        yield app


@pytest.fixture
async def invoker(store: Store) -> AsyncIterator[Invoker]:
    invoker = Invoker(store, SigningKeys(store.database), public_url="https://rotor.example.com/")
    yield invoker
    await invoker.stop()


async def invoke(store: Store, invoker: Invoker, run_id: UUID | None = None) -> UUID:
    """Invoke a fresh run, or the one that is due, and return its id when the post is over."""
    run_id = run_id or await begin(store)
    for claimed in await claim_invocations(store.database, count=1):
        invoker.start(claimed)
    await over()
    return run_id


async def over() -> None:
    """Return when nothing is in flight any more."""
    while tasks := [task for task in asyncio.all_tasks() if task.get_name().startswith("rotor invoke")]:
        await asyncio.wait(tasks)


async def leases(store: Store, invoker: Invoker) -> int:
    """How many there are once the keeper of leases has come round."""
    await Keeper(store, Workers(store), invoker).tick()
    return len(await select(store.database, "SELECT 1 FROM leases"))


async def test_an_invocation_is_signed_and_says_where_its_checkpoints_go(
    store: Store, app: App, invoker: Invoker
) -> None:
    app.answer = says(messages.completed)
    await invoke(store, invoker)
    ((body, headers),) = app.requests
    keys = await SigningKeys(store.database).ensure(1)

    verify(body, headers, keys=keys, now=time.time())
    invocation = msgspec.json.decode(body, type=Invocation)
    assert invocation.checkpoint_url == "https://rotor.example.com/v1/checkpoints"
    assert invocation.run.event.name == "start f"


async def test_what_the_app_answers_is_written_and_the_lease_is_given_back(
    store: Store, app: App, invoker: Invoker
) -> None:
    app.answer = says(lambda run: messages.done(run, "a", 1), lambda run: messages.completed(run, "out"))
    run_id = await invoke(store, invoker)
    row = await run_row(store.database, run_id)

    assert (row["status"], row["output"]) == ("completed", b'"out"')
    assert await step_status(store.database, run_id, "a") == "completed"
    assert await leases(store, invoker) == 0
    assert invoker.alive() == []


async def test_a_run_parks_and_is_invoked_again_with_its_memo(store: Store, app: App, invoker: Invoker) -> None:
    app.answer = says(lambda run: messages.sleeps(run, "nap", 0), messages.parked)
    run_id = await invoke(store, invoker)
    assert await status_of(store.database, run_id) == "waiting"
    await fire_deadlines(store)
    app.answer = says(messages.completed)
    await invoke(store, invoker, run_id)

    again = msgspec.json.decode(app.requests[1][0], type=Invocation)
    assert [(memo.id, memo.status) for memo in again.run.memo] == [("nap", "completed")]
    assert await status_of(store.database, run_id) == "completed"


async def test_a_parking_that_a_deadline_overtook_is_invoked_again_at_once(
    store: Store, app: App, invoker: Invoker
) -> None:
    app.answer = says(lambda run: messages.invokes(run, "sub", "unknown"), messages.parked)
    run_id = await invoke(store, invoker)

    row = await run_row(store.database, run_id)
    assert (row["status"], row["losses"]) == ("queued", 0)
    assert row["due_at"] <= row["created_at"] + timedelta(minutes=1)


@pytest.mark.parametrize("answer", [status(503), status(404), status(500, "no")], ids=["503", "404", "500"])
async def test_an_app_that_does_not_take_the_run_is_tried_again_later_and_no_loss_is_counted(
    store: Store, app: App, invoker: Invoker, answer: Answer
) -> None:
    app.answer = answer
    run_id = await invoke(store, invoker)
    row = await run_row(store.database, run_id)

    assert (row["status"], row["losses"]) == ("queued", 0)
    assert row["due_at"] >= row["created_at"] + timedelta(seconds=1)
    store.database.advance(timedelta(seconds=2))
    app.answer = says(messages.completed)
    await invoke(store, invoker, run_id)
    assert await status_of(store.database, run_id) == "completed"


async def test_an_app_that_nobody_answers_for_is_tried_again_after_a_quarter_of_the_time_that_it_is_away(
    store: Store, invoker: Invoker
) -> None:
    await serve(store, "f", serve_url="http://127.0.0.1:9/api/rotor")
    run_id = await begin(store)
    began = time.monotonic()
    for more_seconds, seconds in ((0, 1), (2, 1), (18, 5), (80, 25), (900, 60)):
        store.database.advance(timedelta(seconds=more_seconds))
        called_at = await store.database.fetchval("read_clock")
        await invoke(store, invoker, run_id)
        wait = ((await run_row(store.database, run_id))["due_at"] - called_at).total_seconds()
        assert seconds <= wait <= seconds + 1.25 * (time.monotonic() - began)

    assert (await run_row(store.database, run_id))["losses"] == 0


async def test_many_runs_that_find_nobody_at_once_wait_no_longer_than_one(store: Store, invoker: Invoker) -> None:
    await serve(store, "f", serve_url="http://127.0.0.1:9/api/rotor")
    runs = [await begin(store) for _ in range(10)]
    began = time.monotonic()
    for run_id in runs:
        await invoke(store, invoker, run_id)

    (row,) = await select(
        store.database, "SELECT extract(epoch FROM max(due_at) - rotor_now())::float8 AS due FROM runs"
    )
    assert row["due"] <= max(1, (time.monotonic() - began) / 4)


async def test_people_see_when_an_app_answered_last_and_that_it_does_not(
    store: Store, app: App, invoker: Invoker
) -> None:
    keeper = Keeper(store, Workers(store), invoker)
    app.answer = says(messages.completed)
    await invoke(store, invoker)
    await keeper.tick()
    (seen,) = await apps(store.database, 1, items_max=5)
    assert seen.answered_at is not None
    assert seen.unreached_at is None
    app.answer = status(503)
    await invoke(store, invoker)
    await keeper.tick()
    (unreached,) = await apps(store.database, 1, items_max=5)
    assert unreached.answered_at == seen.answered_at
    assert unreached.unreached_at is not None
    assert invoker.take_calls() == {}


@pytest.mark.parametrize(
    "answer",
    [
        breaks_off_its_answer,
        says(),
        status(200, "not json"),
        status(200, "{}"),
        status(200, b'{"messages":["\xff"]}'),
        status(200, '{"messages":[], "x":' + "[" * 5_000 + "]" * 5_000 + "}"),
    ],
    ids=["breaks off", "says nothing", "talks nonsense", "says no messages", "is not UTF-8", "nests too deep"],
)
async def test_an_app_that_breaks_off_has_lost_the_run(
    store: Store, app: App, invoker: Invoker, answer: Answer
) -> None:
    app.answer = answer
    run_id = await invoke(store, invoker)
    row = await run_row(store.database, run_id)

    assert (row["status"], row["losses"]) == ("queued", 1)
    assert await leases(store, invoker) == 0


async def test_a_part_of_an_answer_that_is_refused_fails_the_run(store: Store, app: App, invoker: Invoker) -> None:
    """Nobody is left who could hear of it, and the same would only come again."""
    app.answer = says(
        lambda run: messages.done(run, "kept", 1), lambda run: messages.done(run, "a" * 300), messages.released
    )
    run_id = await invoke(store, invoker)
    row = await run_row(store.database, run_id)

    assert row["status"] == "failed"
    assert b"ID_CHARACTERS" in row["error"]
    assert await step_status(store.database, run_id, "kept") == "completed"


def begins_and_is_answered_for(store: Store, code: int | None) -> Answer:
    """An app behind a proxy: it dies over the request, having said that it begins if it was asked to."""

    async def answer(request: web.Request, invocation: Invocation) -> web.StreamResponse:
        if invocation.announce:
            await leases_of_store.begin_invocation(store.database, 1, UUID(invocation.run.lease_id))
        return await breaks_off(request) if code is None else web.Response(status=code)

    return answer


@pytest.mark.parametrize("code", [None, 500, 502, 504])
async def test_a_run_that_kills_its_app_each_time_fails(
    store: Store, app: App, invoker: Invoker, code: int | None
) -> None:
    app.answer = begins_and_is_answered_for(store, code)
    run_id = await begin(store)
    for _ in range(limits.LOSSES + 1):
        assert await status_of(store.database, run_id) == "queued"
        await invoke(store, invoker, run_id)
        store.database.advance(timedelta(minutes=1))

    assert (await run_row(store.database, run_id))["losses"] == limits.LOSSES
    assert await status_of(store.database, run_id) == "failed"


async def broken(request: web.Request, _: Invocation) -> web.StreamResponse:
    return await breaks_off(request)


@pytest.mark.parametrize("answer", [status(502), broken], ids=["502", "closes"])
async def test_a_proxy_without_an_app_costs_no_run_anything(
    store: Store, app: App, invoker: Invoker, answer: Answer
) -> None:
    app.answer = answer
    run_id = await begin(store)
    for _ in range(2 * limits.LOSSES):
        await invoke(store, invoker, run_id)
        store.database.advance(timedelta(minutes=1))

    row = await run_row(store.database, run_id)
    assert (row["status"], row["losses"]) == ("queued", 0)
    announced = [msgspec.json.decode(body, type=Invocation).announce for body, _ in app.requests]
    assert announced == [False] + [True] * (2 * limits.LOSSES - 1)


async def test_an_app_that_never_gets_anywhere_fails_its_run(store: Store, app: App, invoker: Invoker) -> None:
    app.answer = says()
    run_id = await begin(store)
    for _ in range(limits.LOSSES):
        await invoke(store, invoker, run_id)
        store.database.advance(timedelta(minutes=1))

    row = await run_row(store.database, run_id)
    assert row["status"] == "failed"
    assert len(app.requests) == limits.LOSSES


async def test_an_app_answers_for_its_own_run_alone(store: Store, app: App, invoker: Invoker) -> None:
    other = await begin(store)
    await claim_invocations(store.database, count=1)
    app.answer = says(lambda _: messages.completed(other))
    run_id = await invoke(store, invoker)

    assert await status_of(store.database, other) == "running"
    assert (await run_row(store.database, run_id))["losses"] == 1


async def test_a_failure_of_its_own_is_logged_and_the_run_goes_on_when_its_lease_runs_out(
    store: Store, app: App, invoker: Invoker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app.answer = says(messages.completed)

    async def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("something nobody thought of")

    monkeypatch.setattr(store.committer, "exchange", fail)
    run_id = await invoke(store, invoker)
    await asyncio.sleep(0)

    assert "goes on once the lease runs out" in caplog.text
    assert await status_of(store.database, run_id) == "running"
    assert invoker.alive() == []


async def test_an_app_on_an_address_that_is_not_allowed_is_never_connected_to(
    store: Store, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    guarded = replace(store, destinations=Destinations())
    invoker = Invoker(guarded, SigningKeys(store.database), public_url="https://rotor.example.com")
    run_id = await invoke(guarded, invoker)
    await invoker.stop()

    assert app.requests == []
    assert (await run_row(store.database, run_id))["losses"] == 0
    assert "which ROTOR_ALLOW_OUTBOUND does not allow" in caplog.text


async def test_a_name_is_judged_by_where_it_leads_when_it_is_called(
    store: Store, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that led to the internet when it was registered leads to this machine now."""
    port = int(app.url.rpartition(":")[2].partition("/")[0])
    await serve(store, "f", serve_url=f"http://app.example.com:{port}/api/rotor")
    asked = []

    async def rebound(_: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        asked.append(host)
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

    monkeypatch.setattr(ThreadedResolver, "resolve", rebound)
    app.answer = says(messages.completed)
    for destinations, seen in ((Destinations(), 0), (Destinations.parse("app.example.com"), 1)):
        judged = replace(store, destinations=destinations)
        invoker = Invoker(judged, SigningKeys(store.database), public_url="https://rotor.example.com")
        run_id = await invoke(judged, invoker)
        await invoker.stop()
        assert len(app.requests) == seen
    assert asked == ["app.example.com"] * 2
    assert await status_of(store.database, run_id) == "completed"


async def test_a_redirect_is_not_followed(store: Store, app: App, invoker: Invoker) -> None:
    async def redirect(_: web.Request, __: Invocation) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect(app.url)

    app.answer = redirect
    run_id = await invoke(store, invoker)

    assert len(app.requests) == 1
    assert await status_of(store.database, run_id) == "queued"


async def test_a_cookie_of_an_app_is_not_kept_and_nothing_is_unpacked(store: Store, app: App, invoker: Invoker) -> None:
    async def bomb(_: web.Request, __: Invocation) -> web.StreamResponse:
        packed = zlib.compress(b" " * 10_000_000)
        return web.Response(body=packed, headers={"content-encoding": "deflate", "set-cookie": "a=b; Path=/"})

    app.answer = bomb
    run_id = await invoke(store, invoker)
    assert (await run_row(store.database, run_id))["losses"] == 1
    store.database.advance(timedelta(minutes=1))
    app.answer = says(messages.completed)
    await invoke(store, invoker, run_id)

    assert [headers.get("Cookie") for _, headers in app.requests] == [None, None]
    assert {headers["Accept-Encoding"] for _, headers in app.requests} == {"identity"}


async def test_an_answer_over_the_limit_is_broken_off(
    store: Store, app: App, invoker: Invoker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FRAME_BYTES", 10_000)
    app.answer = status(200, "x" * 20_000)
    run_id = await invoke(store, invoker)
    assert (await run_row(store.database, run_id))["losses"] == 1


async def test_answers_have_a_joint_limit_and_what_is_usual_is_taken_all_the_same(
    store: Store, app: App, invoker: Invoker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "ANSWERS_BYTES", 200_000)
    sizes: dict[str, int] = {}

    async def answer(request: web.Request, invocation: Invocation) -> web.StreamResponse:
        output = "x" * sizes[invocation.run.run_id]
        return await says(lambda run: messages.completed(run, output))(request, invocation)

    async def claimed(size: int) -> ClaimedInvocation:
        sizes[str(await begin(store))] = size
        (one,) = await claim_invocations(store.database, count=1)
        return one

    async def is_refused() -> bool:
        return "(ANSWERS_BYTES)" in caplog.text

    app.answer = answer
    invocations = [await claimed(200_000), await claimed(200_000), await claimed(50_000)]
    first, second, usual = (one.run_id for one in invocations)
    async with locked(store.database, "SELECT 1 FROM runs FOR NO KEY UPDATE") as other:
        invoker.start(invocations[0])
        await until_blocked(other)
        invoker.start(invocations[1])
        invoker.start(invocations[2])
        await until(is_refused)
    await over()
    assert [await status_of(store.database, run_id) for run_id in (first, second, usual)] == [
        "completed",
        "queued",
        "completed",
    ]
    assert (await run_row(store.database, second))["losses"] == 0
    store.database.advance(timedelta(minutes=1))
    await invoke(store, invoker, second)
    assert await status_of(store.database, second) == "completed"


async def test_an_answer_that_cannot_be_written_fails_its_run_with_the_reason(
    store: Store, app: App, invoker: Invoker, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = store.committer.commits._write

    async def fail_at(arrivals: Sequence[Any]) -> Any:
        if any(isinstance(arrival.message, RunCompleted) for arrival in arrivals if isinstance(arrival, FromHolder)):
            raise RuntimeError("something nobody thought of")
        return await write(arrivals)

    monkeypatch.setattr(store.committer.commits, "_write", fail_at)
    app.answer = says(lambda run: messages.done(run, "a", 1), messages.completed)
    run_id = await invoke(store, invoker)
    row = await run_row(store.database, run_id)

    assert (row["status"], row["losses"]) == ("failed", 0)
    assert b"could not record this: RuntimeError" in row["error"]
    assert await step_status(store.database, run_id, "a") == "completed"


async def test_an_answer_that_comes_while_too_much_waits_to_be_written_waits_too(
    store: Store, app: App, invoker: Invoker, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.answer = says(messages.completed)
    run_id = await begin(store)
    (claimed,) = await claim_invocations(store.database, count=1)

    async def was_asked() -> bool:
        return bool(app.requests)

    async with locked(store.database, "SELECT 1 FROM runs FOR NO KEY UPDATE") as other:
        monkeypatch.setattr(limits, "COMMIT_QUEUE", 2)
        in_the_way = [asyncio.create_task(store.committer.submit(Cancelled(run_id)))]
        await until_blocked(other)
        in_the_way += [asyncio.create_task(store.committer.submit(Cancelled(uuid4()))) for _ in range(2)]
        invoker.start(claimed)
        await until(was_asked)
    await asyncio.gather(*in_the_way)
    await over()
    assert await status_of(store.database, run_id) == "cancelled"


async def test_an_app_that_answers_too_late_has_lost_the_run(
    store: Store, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "INVOCATION", timedelta(seconds=1))
    asked = asyncio.Event()

    async def never(_: web.Request, __: Invocation) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    app.answer = never
    invoker = Invoker(store, SigningKeys(store.database), public_url="https://rotor.example.com")
    run_id = await invoke(store, invoker)
    await invoker.stop()
    assert asked.is_set()
    assert (await run_row(store.database, run_id))["losses"] == 1


async def test_the_log_shows_no_query_of_a_serve_url(
    store: Store, app: App, invoker: Invoker, caplog: pytest.LogCaptureFixture
) -> None:
    await serve(store, "f", serve_url=f"{app.url}?key=hush")
    app.answer = status(503)
    await invoke(store, invoker)
    assert "cannot be reached" in caplog.text
    assert "hush" not in caplog.text


async def test_an_invocation_notices_that_its_apps_machine_has_vanished(
    store: Store, app: App, invoker: Invoker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be silent for a day, and nobody tells that the other end is gone."""
    opened: list[socket.socket] = []
    make = socket.socket

    class Noted(make):  # type: ignore[misc,valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            opened.append(self)

    monkeypatch.setattr(connector.socket, "socket", Noted)
    asked = asyncio.Event()

    async def answer(request: web.Request, _: Invocation) -> web.StreamResponse:
        alive = [one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) for one in opened if one.fileno() >= 0]
        idle = [one.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) for one in opened if one.fileno() >= 0]
        assert (1, 30) in zip(alive, idle, strict=True)
        asked.set()
        return web.Response(status=503)

    app.answer = answer
    await invoke(store, invoker)
    assert asked.is_set()


async def test_stopping_breaks_off_what_is_in_flight(store: Store, app: App, invoker: Invoker) -> None:
    asked = asyncio.Event()

    async def never(_: web.Request, __: Invocation) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    app.answer = never
    await begin(store)
    (claimed,) = await claim_invocations(store.database, count=1)
    invoker.start(claimed)
    await asked.wait()
    assert invoker.alive() == [claimed.lease_id]
    await invoker.stop()

    assert invoker.alive() == []
