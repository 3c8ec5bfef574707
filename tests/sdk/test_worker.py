"""A worker runs what the server sends, says what it has done once and in order, and comes through lost connections."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import msgspec
import pytest
from aiohttp import web

from rotor import Context, connect, create_function
from rotor.errors import ApiError, ConfigError
from rotor.protocol.json import Raw
from rotor.protocol.messages import (
    Committed,
    DropRun,
    Goodbye,
    Heartbeat,
    Hello,
    Memo,
    ResumeRun,
    RunCompleted,
    RunParked,
    RunReleased,
    ServerMessage,
    StepDone,
    StepParked,
    Welcome,
    WorkerMessage,
    worker_frame,
)
from rotor.sdk import session as session_module
from rotor.sdk import websocket
from rotor.sdk import worker as worker_module
from rotor.sdk.connection import BEATS_A_LEASE
from rotor.sdk.functions import Function
from rotor.sdk.worker import Worker
from tests.conformance.ledger import FOLDER, notes
from tests.crashes.bench import Program
from tests.sdk.servers import serving
from tests.sdk.serving import doubler, sleeper, start

M = TypeVar("M", bound=WorkerMessage)


class Peer:
    """The server's end of one connection."""

    def __init__(self, socket: web.WebSocketResponse, hello: Hello) -> None:
        self.socket = socket
        self.hello = hello
        self.frames: list[list[WorkerMessage]] = []
        self.closed = asyncio.Event()

    async def send(self, *messages: ServerMessage) -> None:
        await self.socket.send_str(msgspec.json.encode(messages).decode())

    async def receive(self, kind: type[M]) -> M:
        """The next message of `kind`; those before it are kept in `frames` alone."""
        while True:
            frame = worker_frame.decode((await self.socket.receive(60)).data)
            self.frames.append(frame)
            for message in frame:
                if isinstance(message, kind):
                    return message

    async def commit(self, message: Any, group: int = 1) -> None:
        await self.send(Committed(runs={message.run_id: [message.n]}, group=group))


class WorkerServer:
    """Takes connections of workers and hands each to the test, greeted."""

    def __init__(self) -> None:
        self.url = ""
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.welcome = Welcome(lease_id="l1", heartbeat_seconds=60, payload_bytes_max=1_000_000)
        self.early: list[ServerMessage] = []
        self.statuses: list[int] = []
        self.refusal: str | None = None
        self.authorization: str | None = None

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        assert request.path == "/v1/connect"
        self.authorization = request.headers.get("authorization")
        if self.statuses:
            # To itself: a redirect that is followed comes to a greeting.
            return web.json_response({}, status=self.statuses.pop(0), headers={"location": "/v1/connect"})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        (hello,) = worker_frame.decode((await socket.receive(60)).data)
        assert isinstance(hello, Hello)
        if self.refusal is not None:
            await socket.close(code=4400, message=self.refusal.encode())
            return socket
        peer = Peer(socket, hello)
        await peer.send(self.welcome, *self.early)
        self.peers.put_nowait(peer)
        await peer.closed.wait()
        return socket

    async def peer(self) -> Peer:
        return await asyncio.wait_for(self.peers.get(), 60)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WorkerServer]:
    monkeypatch.setattr(worker_module, "RECONNECT_SECONDS_MAX", 0.01)
    monkeypatch.setattr(websocket, "CLOSE_SECONDS", 0.05)  # a double does not answer a goodbye
    double = WorkerServer()
    async with serving(double) as double.url:
        yield double


@asynccontextmanager
async def working(
    server: WorkerServer, *functions: Function[Any, Any], **options: Any
) -> AsyncIterator[tuple[Worker, asyncio.Task[None]]]:
    worker = connect(functions, url=server.url, **{"grace_seconds": 0, **options})
    task = asyncio.create_task(worker.run())
    try:
        yield worker, task
    finally:
        worker.stop()
        await asyncio.wait([task], timeout=60)
        assert task.done()


def memo(id: str, output: bytes = b"null", **fields: Any) -> Memo:
    usual: dict[str, Any] = {"index": 0, "op": "sleep", "status": "completed", "group": 1}
    return Memo(**{**usual, **fields}, id=id, output=Raw(output))


def numbers(messages: Sequence[Any]) -> list[int]:
    return [message.n for message in messages]


async def test_the_greeting_says_who_serves_what(server: WorkerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTOR_VERSION", "42")
    async with working(server, doubler, sleeper, api_key="rk_test", slots=7, name="w1"):
        hello = (await server.peer()).hello
    assert server.authorization == "Bearer rk_test"
    assert (hello.worker, hello.slots, hello.lease_id, hello.held) == ("w1", 7, None, [])
    assert hello.manifest.functions == [doubler.spec, sleeper.spec]
    assert hello.manifest.version == "42"


async def test_a_step_starts_when_the_one_before_is_committed(server: WorkerServer) -> None:
    async with working(server, doubler):
        peer = await server.peer()
        await peer.send(start("doubler", {"number": 3}))
        for step, output in (("double", b"6"), ("again", b"12")):
            done = await peer.receive(StepDone)
            assert (done.id, bytes(done.output)) == (step, output)
            assert peer.frames[-1] == [done]
            await peer.commit(done)
        completed = await peer.receive(RunCompleted)
        assert bytes(completed.output) == b"12"
        await peer.commit(completed)


async def test_what_is_ready_together_travels_together(server: WorkerServer) -> None:
    async def at_once(number: int) -> int:
        return number

    @create_function(id="wide", trigger={"event": "x"})
    async def wide(ctx: Context[Any]) -> None:
        await asyncio.gather(*(ctx.step.run("one", at_once, number) for number in range(100)))

    async with working(server, wide):
        peer = await server.peer()
        await peer.send(start("wide", None))
        while sum(map(len, peer.frames)) < 100:
            await peer.receive(StepDone)
        assert len(peer.frames) <= 3


async def test_of_runs_that_go_to_sleep_together_each_is_parked_in_the_frame_that_tells_of_its_sleep(
    server: WorkerServer,
) -> None:
    @create_function(id="napper", trigger={"event": "x"})
    async def napper(ctx: Context[Any]) -> None:
        await ctx.step.sleep("nap", "1h")

    async with working(server, napper):
        peer = await server.peer()
        await peer.send(*(start("napper", None, run_id=f"r{number}") for number in range(50)))
        said: list[list[tuple[type, str]]] = []
        while sum(map(len, said)) < 100:
            await peer.receive(RunParked)
            said = [[(type(message), message.run_id) for message in frame] for frame in peer.frames]  # type: ignore[union-attr]
    for frame in said:
        assert [run for kind, run in frame if kind is StepParked] == [run for kind, run in frame if kind is RunParked]


async def test_what_a_large_frame_has_brought_is_told_before_the_next_is_taken(server: WorkerServer) -> None:
    @create_function(id="napper", trigger={"event": "x"})
    async def napper(ctx: Context[Any]) -> None:
        await ctx.step.sleep("nap", "1h")

    first, second = ([f"{which}{number}" for number in range(100)] for which in "ab")
    async with working(server, napper):
        peer = await server.peer()
        for run_ids in (first, second):
            await peer.send(*(start("napper", None, run_id=run_id) for run_id in run_ids))
        while sum(map(len, peer.frames)) < 400:
            await peer.receive(RunParked)
    assert {message.run_id for message in peer.frames[0]} == set(first)  # type: ignore[union-attr]


async def test_heartbeats_keep_the_pace_of_the_server(server: WorkerServer) -> None:
    server.welcome = msgspec.structs.replace(server.welcome, heartbeat_seconds=0.01)
    async with working(server, doubler):
        peer = await server.peer()
        for _ in range(3):
            await peer.receive(Heartbeat)


async def test_after_a_lost_connection_what_was_not_acknowledged_is_sent_again(server: WorkerServer) -> None:
    async with working(server, doubler):
        peer = await server.peer()
        await peer.send(start("doubler", {"number": 3}))
        first = await peer.receive(StepDone)
        assert peer.socket._req is not None
        assert peer.socket._req.transport is not None
        peer.socket._req.transport.abort()
        back = await server.peer()
        assert (back.hello.lease_id, back.hello.held) == ("l1", ["r1"])
        assert await back.receive(StepDone) == first
        await back.commit(first)
        again = await back.receive(StepDone)
        assert numbers([first, again]) == [1, 2]


@pytest.mark.parametrize("frame", [b"nonsense", b'[{"type":"drop_run","run_id":"\xff","reason":""}]'])
async def test_a_server_that_cannot_be_understood_is_left_and_found_again(server: WorkerServer, frame: bytes) -> None:
    async with working(server, doubler):
        peer = await server.peer()
        assert peer.socket._writer is not None
        await peer.socket._writer.send_frame(frame, aiohttp.WSMsgType.TEXT)
        again = await server.peer()
        await again.send(start("doubler", {"number": 3}))
        assert (await again.receive(StepDone)).id == "double"


async def test_what_comes_in_one_frame_with_the_greeting_counts(server: WorkerServer) -> None:
    server.early = [start("doubler", {"number": 1})]
    async with working(server, doubler):
        assert (await (await server.peer()).receive(StepDone)).id == "double"


async def test_under_another_lease_the_runs_in_hand_are_dropped(server: WorkerServer) -> None:
    async with working(server, doubler):
        peer = await server.peer()
        await peer.send(start("doubler", {"number": 3}))
        await peer.receive(StepDone)
        server.welcome = msgspec.structs.replace(server.welcome, lease_id="l2")
        await peer.socket.close()
        back = await server.peer()
        assert back.hello.held == ["r1"]
        await back.send(start("doubler", {"number": 4}, run_id="r2"))
        done = await back.receive(StepDone)
        assert (done.run_id, back.frames) == ("r2", [[done]])


async def test_a_server_that_stops_is_left_and_found_again(server: WorkerServer) -> None:
    async with working(server, doubler):
        peer = await server.peer()
        await peer.send(Goodbye())
        assert (await server.peer()).hello.lease_id == "l1"


async def test_a_parked_run_goes_on_from_the_changes_alone(server: WorkerServer) -> None:
    bodies: list[str] = []

    @create_function(id="napper", trigger={"event": "x"})
    async def napper(ctx: Context[Any]) -> str:
        bodies.append(ctx.run_id)
        await ctx.step.sleep("nap", "1h")
        return "rested"

    async with working(server, napper):
        peer = await server.peer()
        await park(peer, "r1")
        await peer.send(ResumeRun(run_id="r1", memo=[memo("nap")], settled=1))
        completed = await peer.receive(RunCompleted)
        assert (bytes(completed.output), bodies) == (b'"rested"', ["r1"])


async def park(peer: Peer, run_id: str) -> None:
    await peer.send(start("napper", None, run_id=run_id))
    waiting, parked = await peer.receive(StepParked), None
    for message in peer.frames[-1]:
        parked = message if isinstance(message, RunParked) else parked
    parked = parked or await peer.receive(RunParked)
    await peer.send(Committed(runs={run_id: [waiting.n, parked.n]}, group=1))


async def test_the_oldest_parked_run_makes_room_and_is_then_asked_for_cold(server: WorkerServer) -> None:
    left: list[str] = []

    @create_function(id="napper", trigger={"event": "x"})
    async def napper(ctx: Context[Any]) -> str:
        try:
            await ctx.step.sleep("nap", "1h")
        finally:
            left.append(ctx.run_id)
        return "rested"

    async with working(server, napper, parked_max=2):
        peer = await server.peer()
        for run_id in ("r1", "r2", "r3"):
            await park(peer, run_id)
        await peer.send(ResumeRun(run_id="r1", memo=[memo("nap")], settled=1))
        assert (await peer.receive(RunReleased)).run_id == "r1"
        assert left == ["r1"]
        await peer.send(start("napper", None, [memo("nap")], run_id="r1", settled=1))
        assert (await peer.receive(RunCompleted)).run_id == "r1"


async def test_of_runs_that_make_room_together_each_has_its_time_to_clean_up(server: WorkerServer) -> None:
    left: list[str] = []
    second_left, first_may_leave, first_left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @create_function(id="napper", trigger={"event": "x"})
    async def napper(ctx: Context[Any]) -> None:
        try:
            await ctx.step.sleep("nap", "1h")
        finally:
            if ctx.run_id == "r1":
                await first_may_leave.wait()
                first_left.set()
            left.append(ctx.run_id)
            second_left.set()

    async with working(server, napper, parked_max=1):
        peer = await server.peer()
        await peer.send(*(start("napper", None, run_id=run_id) for run_id in ("r1", "r2", "r3")))
        parked: list[RunParked] = []
        while len(parked) < 3:
            await peer.receive(RunParked)
            parked = [message for frame in peer.frames for message in frame if isinstance(message, RunParked)]
        await peer.send(Committed(runs={message.run_id: [message.n - 1, message.n] for message in parked}, group=1))
        await second_left.wait()
        await park(peer, "r4")
        first_may_leave.set()
        await first_left.wait()
        assert left[0] == "r2"


async def test_the_error_with_which_a_body_is_unwound_is_not_described(
    server: WorkerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its traceback would cost more than all else about a run that makes room for another."""
    described: list[BaseException] = []
    left = asyncio.Event()
    monkeypatch.setattr(session_module, "error_of", described.append)

    @create_function(id="napper", trigger={"event": "x"})
    async def napper(ctx: Context[Any]) -> None:
        try:
            await ctx.step.sleep("nap", "1h")
        finally:
            left.set()

    async with working(server, napper, parked_max=1):
        peer = await server.peer()
        for run_id in ("r1", "r2"):
            await park(peer, run_id)
        await left.wait()
    assert described == []


async def test_a_dropped_run_is_forgotten(server: WorkerServer) -> None:
    async with working(server, doubler) as (worker, _):
        peer = await server.peer()
        await peer.send(start("doubler", {"number": 3}))
        await peer.receive(StepDone)
        await peer.send(DropRun(run_id="r1", reason="lease lost"))
        await worker._held.idle()
        assert worker._held.unacknowledged == []


async def test_a_stopping_worker_takes_no_more_and_finishes_what_it_has(server: WorkerServer) -> None:
    async with working(server, doubler, grace_seconds=10) as (worker, task):
        peer = await server.peer()
        await peer.send(start("doubler", {"number": 3}))
        first = await peer.receive(StepDone)
        worker.stop()
        await peer.receive(Goodbye)
        await peer.send(start("doubler", {"number": 4}, run_id="r2"))
        assert (await peer.receive(RunReleased)).run_id == "r2"
        await peer.commit(first)
        await peer.commit(await peer.receive(StepDone), 2)
        assert not task.done()
        await peer.commit(await peer.receive(RunCompleted), 3)
        await asyncio.wait_for(task, 60)


async def test_what_does_not_end_within_the_grace_is_given_back(server: WorkerServer) -> None:
    started, left = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    @create_function(id="hanging", trigger={"event": "x"})
    async def hanging(ctx: Context[Any]) -> None:
        await ctx.step.run("hang", hang)

    async with working(server, hanging, grace_seconds=0.01) as (worker, task):
        peer = await server.peer()
        await peer.send(start("hanging", None))
        await started.wait()
        worker.stop()
        assert (await peer.receive(RunReleased)).run_id == "r1"
        await asyncio.wait_for(task, 60)
        assert left.is_set()


async def test_a_worker_that_stops_while_the_server_is_away_ends(server: WorkerServer) -> None:
    server.statuses = [503] * 10_000
    async with working(server, doubler) as (worker, task):
        await asyncio.sleep(0.05)
        worker.stop()
        await asyncio.wait_for(task, 60)


async def test_a_server_that_is_not_ready_is_asked_again(server: WorkerServer) -> None:
    server.statuses = [503, 502, 429]
    async with working(server, doubler):
        assert (await server.peer()).hello.lease_id is None


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_worker_with_a_wrong_key_or_address_ends_with_an_error(server: WorkerServer, status: int) -> None:
    server.statuses = [status]
    with pytest.raises(ApiError, match=f"{status}.*ROTOR_API_KEY"):
        await asyncio.wait_for(connect([doubler], url=server.url).run(), 60)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_worker_follows_no_redirect(server: WorkerServer, status: int) -> None:
    server.statuses = [status]
    with pytest.raises(ApiError, match=f"{status}.*set ROTOR_URL"):
        await asyncio.wait_for(connect([doubler], url=server.url).run(), 60)
    assert server.peers.empty()


async def test_a_refused_greeting_ends_with_its_reason(server: WorkerServer) -> None:
    server.refusal = "these functions cannot be registered: cron"
    with pytest.raises(ApiError, match="these functions cannot be registered: cron"):
        await asyncio.wait_for(connect([doubler], url=server.url).run(), 60)


async def test_a_worker_tells_when_it_is_connected(server: WorkerServer) -> None:
    connected = asyncio.Event()
    async with working(server, doubler) as (worker, _):
        worker.on_connected = connected.set
        await asyncio.wait_for(connected.wait(), 60)


@pytest.mark.parametrize("options", [{"slots": 0}, {"slots": 10_001}, {"parked_max": -1}, {"threads": 0}])
def test_settings_that_cannot_be_used_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        connect([doubler], **options)  # type: ignore[arg-type]


async def test_a_worker_that_was_stopped_for_longer_than_its_lease_begins_nothing_that_it_was_sent(
    server: WorkerServer, tmp_path: Path
) -> None:
    server.welcome = Welcome(lease_id="l1", heartbeat_seconds=0.2, payload_bytes_max=1_000_000)
    environment = {**os.environ, "ROTOR_URL": server.url, FOLDER: str(tmp_path)}
    program = Program(["rotor.cli", "worker", "tests.crashes.workflows"], environment, tmp_path / "log")
    try:
        peer = await server.peer()
        await peer.receive(Heartbeat)
        program.signal(signal.SIGSTOP)
        await peer.send(start("chain", {"key": "c", "steps": 1}))
        await asyncio.sleep(BEATS_A_LEASE * 0.2 + 0.2)
        program.signal(signal.SIGCONT)
        again = await server.peer()
        await again.receive(Heartbeat)
    finally:
        program.kill()

    assert (again.hello.lease_id, again.hello.held) == ("l1", [])
    assert notes(tmp_path, "c") == []
    assert "stood still" in program.said


async def test_a_worker_that_was_stopped_for_a_moment_goes_on(server: WorkerServer, tmp_path: Path) -> None:
    server.welcome = Welcome(lease_id="l1", heartbeat_seconds=5, payload_bytes_max=1_000_000)
    environment = {**os.environ, "ROTOR_URL": server.url, FOLDER: str(tmp_path)}
    program = Program(["rotor.cli", "worker", "tests.crashes.workflows"], environment, tmp_path / "log")
    try:
        peer = await server.peer()
        program.signal(signal.SIGSTOP)
        await peer.send(start("chain", {"key": "c", "steps": 1}))
        program.signal(signal.SIGCONT)
        await peer.receive(StepDone)
    finally:
        program.kill()

    assert notes(tmp_path, "c") == ["0"]
