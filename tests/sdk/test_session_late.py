"""What the server says late, twice or out of turn, after a lost connection, brings no step out of step."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rotor.protocol.messages import Committed, Memo, RunCompleted, Settled, StepDone, StepFailed
from rotor.sdk.context import Context
from tests.sdk.fake_server import RUN, FakeServer
from tests.sdk.test_session import workflow

Body = Context[Any]

TRY_AGAIN = Settled(
    run_id=RUN, memo=[Memo(id="a", index=0, op="run", status="retrying", attempts=1, group=1)], settled=1
)


def fails_once(tries: list[int]) -> FakeServer:
    """A workflow of one step whose first try fails, at a server whose answers are given by hand."""

    async def flaky() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError
        return "done"

    async def body(ctx: Body) -> str:
        return await ctx.step.run("a", flaky)

    server = FakeServer(workflow(body))
    server.paused = True
    server.start()
    return server


async def test_the_acknowledgement_of_an_earlier_try_is_not_taken_for_that_of_the_next() -> None:
    tries: list[int] = []
    server = fails_once(tries)
    await server.until(lambda: any(isinstance(message, StepFailed) for message in server.sent))
    assert server.session is not None
    server.session.receive(TRY_AGAIN)
    await server.until(lambda: any(isinstance(message, StepDone) for message in server.sent))
    server.session.receive(Committed(runs={RUN: [1]}, group=1))
    server.session.receive(Committed(runs={RUN: [2]}, group=2))
    await server.until(lambda: any(isinstance(message, RunCompleted) for message in server.sent))

    assert len(tries) == 2


async def test_news_of_a_try_that_has_begun_does_not_begin_it_again() -> None:
    tries: list[int] = []
    server = fails_once(tries)
    await server.until(lambda: any(isinstance(message, StepFailed) for message in server.sent))
    assert server.session is not None
    server.session.receive(TRY_AGAIN)
    await server.until(lambda: any(isinstance(message, StepDone) for message in server.sent))
    server.session.receive(TRY_AGAIN)
    await asyncio.sleep(0)
    server.session.receive(Committed(runs={RUN: [1, 2]}, group=2))
    await server.until(lambda: any(isinstance(message, RunCompleted) for message in server.sent))

    assert len(tries) == 2


@pytest.mark.usefixtures("announced")
async def test_a_try_that_was_cut_off_is_not_counted() -> None:
    tries: list[int] = []
    hold = asyncio.Event()

    async def slow() -> None:
        tries.append(1)
        await hold.wait()

    async def body(ctx: Body) -> None:
        await ctx.step.run("a", slow)

    server = FakeServer(workflow(body))
    server.start()
    await server.until(lambda: ("a", 0) in server.steps)  # it takes long enough to be shown
    assert server.steps["a", 0].status == "running"
    await server.lose()
    server.start()
    await server.until(lambda: len(tries) == 2)
    hold.set()
    await server.rest()

    assert server.steps["a", 0].attempts == 1
