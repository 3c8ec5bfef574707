"""The checkpoints of many runs travel together, and none of them suffers for another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web

from rotor import Context, create_function, limits
from rotor.protocol.invocations import Invocation
from rotor.protocol.messages import HolderSays, RunCompleted, RunReleased, StepDone
from rotor.sdk.serve.gathering import REQUESTS_AT_ONCE
from rotor.sdk.serve.invocation import HeldRun, Invoker
from tests.sdk.servers import serving
from tests.sdk.serving import KEY, CheckpointServer, invocation


@create_function(id="wide", trigger={"event": "x"})
async def wide(ctx: Context[Any]) -> int:
    """Steps side by side, each with a result of so many bytes."""

    async def fill() -> str:
        return "x" * int(ctx.event.data["bytes"])

    return len(await asyncio.gather(*(ctx.step.run("fill", fill) for _ in range(ctx.event.data["steps"]))))


class App:
    """Invokes `wide` for runs of its own."""

    def __init__(self, server: CheckpointServer) -> None:
        self.server = server
        self.invoker = Invoker([KEY], threads=2)
        self.runs: list[asyncio.Task[list[HolderSays]]] = []

    async def begin(self, count: int, *, steps: int = 1, size: int = 1) -> None:
        """Begin so many runs, and return when each has its steps ready, or posted."""
        for _ in range(count):
            run_id = f"r{len(self.runs)}"
            data = {"steps": steps, "bytes": size}
            body = invocation("wide", data, self.server.url, run_id=run_id, token=run_id)
            self.runs.append(asyncio.create_task(self.run(msgspec.json.decode(body, type=Invocation))))
        for _ in range(100):
            await asyncio.sleep(0)

    async def run(self, invocation: Invocation) -> list[HolderSays]:
        return (await self.invoker.run(wide, invocation)).messages

    async def ended(self) -> list[HolderSays]:
        """The last message of each run."""
        return [(await run)[-1] for run in self.runs]


@pytest.fixture
async def server() -> AsyncIterator[CheckpointServer]:
    double = CheckpointServer()
    async with serving(double) as double.url:
        yield double


@pytest.fixture
def app(server: CheckpointServer) -> App:
    return App(server)


def tokens(server: CheckpointServer) -> list[list[str]]:
    return [[one.token for one in request] for request in server.requests]


async def test_what_is_ready_in_one_turn_is_one_request(server: CheckpointServer, app: App) -> None:
    await app.begin(20)
    assert [type(message) for message in await app.ended()] == [RunCompleted] * 20
    assert tokens(server) == [[f"r{number}" for number in range(20)]]


async def test_what_becomes_ready_while_requests_are_on_their_way_waits_for_the_next(
    server: CheckpointServer, app: App
) -> None:
    server.open.clear()
    for _ in range(REQUESTS_AT_ONCE + 3):
        await app.begin(2)
    server.open.set()
    assert [type(message) for message in await app.ended()] == [RunCompleted] * 2 * (REQUESTS_AT_ONCE + 3)
    assert [len(request) for request in server.requests] == [2] * REQUESTS_AT_ONCE + [6]


async def test_one_that_is_refused_spoils_no_others(server: CheckpointServer, app: App) -> None:
    server.refused.add("r5")
    await app.begin(9)
    ended = [type(message) for message in await app.ended()]
    assert ended == [RunReleased if number == 5 else RunCompleted for number in range(9)]


async def test_one_that_cannot_be_posted_holds_up_no_others(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    said = HeldRun.said

    def say(run: HeldRun, frame: bytes) -> bytes:
        if run.token == "r1":
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        return said(run, frame)

    monkeypatch.setattr(HeldRun, "said", say)
    await app.begin(3)
    ended = await asyncio.gather(*app.runs, return_exceptions=True)
    assert [isinstance(each, UnicodeEncodeError) for each in ended] == [False, True, False]


async def test_a_request_stays_within_its_limits(
    server: CheckpointServer, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REQUEST_BYTES", 2_500)
    await app.begin(3, size=1_000)
    await app.begin(1, steps=5, size=1_000)
    assert [type(message) for message in await app.ended()] == [RunCompleted] * 4
    sizes = [len(msgspec.json.encode(request)) for request in server.requests]
    assert max(sizes) < 2 * 2_500
    assert sum(len(one.messages) for request in server.requests for one in request) == 8
    assert [len(one.messages) for request in server.requests for one in request if one.token == "r3"] == [2, 1, 2]


async def test_an_answer_to_something_else_is_as_good_as_none(server: CheckpointServer, app: App) -> None:
    server.stumble = lambda _: web.json_response([[], [], []])
    await app.begin(2)
    assert [type(message) for message in await app.ended()] == [RunReleased] * 2
    assert [type((await run)[0]) for run in app.runs] == [StepDone] * 2
