"""What worker and server say crosses on the way: a run that is dropped and handed out again has one body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from rotor import Context, create_function
from rotor.protocol.messages import Committed, DropRun, ResumeRun, RunCompleted, RunMessage, RunReleased, StepDone
from rotor.sdk import bodies
from rotor.sdk.functions import Function
from rotor.sdk.held_runs import HeldRuns
from tests.sdk.serving import start


class Line:
    """The channel of a worker: it keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[RunMessage] = []

    def send(self, message: RunMessage) -> None:
        self.sent.append(message)

    async def carries(self, kind: type[RunMessage], *, times: int = 1) -> RunMessage:
        async with asyncio.timeout(60):
            while sum(isinstance(message, kind) for message in self.sent) < times:  # noqa: ASYNC110
                await asyncio.sleep(0)
        return [message for message in self.sent if isinstance(message, kind)][-1]


entered, left = asyncio.Event(), asyncio.Event()


async def stubborn() -> str:
    """Ends as it likes, cancelled or not."""
    entered.set()
    with suppress(asyncio.CancelledError):
        await left.wait()
    return "stubborn"


@create_function(id="stubborn", trigger={"event": "x"})
async def stubborn_flow(ctx: Context[Any]) -> str:
    return await ctx.step.run("stubborn", stubborn)


@pytest.fixture
async def line(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
    monkeypatch.setattr(bodies, "SHOWN_AFTER_SECONDS", 3_600)
    entered.clear()
    left.clear()
    yield Line()
    left.set()


def holding(line: Line, function: Function[Any, Any]) -> HeldRuns:
    held = HeldRuns([function], line, parked_max=10, threads=ThreadPoolExecutor(1))
    held.payload_bytes_max = 1_000_000
    return held


async def test_a_dropped_run_that_is_to_go_on_from_memory_is_given_back(line: Line) -> None:
    """As after a server's death between the commit that parked the run and the answer: the worker comes back with a run
    that its lease does not hold, and that is due again by then. Taken into the dying session it would be lost."""
    held = holding(line, stubborn_flow)
    order = start("stubborn", None)
    held.receive(order)
    held.receive(DropRun(run_id=order.run_id, reason="the lease is over"))
    held.receive(ResumeRun(run_id=order.run_id, memo=[], settled=0))
    assert isinstance(line.sent[-1], RunReleased)
    await held.close()
    assert held.active == []


async def test_nothing_that_a_dropped_body_still_does_is_said_of_the_run_that_began_anew(line: Line) -> None:
    held = holding(line, stubborn_flow)
    order = start("stubborn", None)
    held.receive(order)
    await entered.wait()
    held.receive(DropRun(run_id=order.run_id, reason="the lease is over"))
    held.receive(order)
    await asyncio.sleep(0.05)
    assert line.sent == []
    left.set()
    done = await line.carries(StepDone)
    held.receive(Committed(runs={order.run_id: [1]}, group=1))
    await line.carries(RunCompleted)
    assert [type(message) for message in line.sent] == [StepDone, RunCompleted]
    assert isinstance(done, StepDone)
    await held.close()
