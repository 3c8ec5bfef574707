"""What tests of the serve path share: functions to serve, signed invocations, and a server that takes checkpoints."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
from aiohttp import web

from rotor import Context, SyncContext, create_function
from rotor.protocol import signing
from rotor.protocol.invocations import Checkpoint, Invocation, InvocationResult, checkpoints
from rotor.protocol.json import Raw
from rotor.protocol.messages import Committed, Event, HolderMessage, HolderSays, LogLine, Memo, RunMessage, StartRun

KEY = signing.generate_key()
TOKEN = "token-of-one-run"


def double(number: int) -> int:
    return number * 2


@create_function(id="doubler", trigger={"event": "number"}, retries=1)
async def doubler(ctx: Context[dict[str, int]]) -> int:
    doubled = await ctx.step.run("double", double, ctx.event.data["number"])
    return await ctx.step.run("again", double, doubled)


@create_function(id="sleeper", trigger={"event": "bed"})
async def sleeper(ctx: Context[Any]) -> str:
    await ctx.step.run("brush", double, 1)
    await ctx.step.sleep("night", "8h")
    return "rested"


@create_function(id="blocking", trigger={"event": "number"})
def blocking(ctx: SyncContext[dict[str, int]]) -> int:
    return ctx.step.run("double", double, ctx.event.data["number"])


FUNCTIONS = [doubler, sleeper, blocking]


def start(function_id: str, data: Any, memo: Sequence[Memo] = (), **fields: Any) -> StartRun:
    """An order to run a function of which `memo` is recorded."""
    event = Event(id="e1", name="number", data=Raw(msgspec.json.encode(data)), ts=datetime(2026, 3, 1, tzinfo=UTC))
    usual: dict[str, Any] = {"run_id": "r1", "lease_id": "l1", "attempt": 0}
    return StartRun(**{**usual, **fields}, function_id=function_id, event=event, memo=list(memo))


def invocation(
    function_id: str, data: Any, checkpoint_url: str, memo: Sequence[Memo] = (), *, token: str = TOKEN, **fields: Any
) -> bytes:
    """The body of an invocation."""
    run = start(function_id, data, memo, **fields)
    order = Invocation(run=run, checkpoint_url=checkpoint_url, token=token, payload_bytes_max=1_000_000)
    return msgspec.json.encode(order)


def signed(body: bytes, *, key: str = KEY, message_id: str | None = None, at: float | None = None) -> dict[str, str]:
    """Headers that sign `body`."""
    stamp = int(time.time() if at is None else at)
    headers = signing.sign(body, message_id=message_id or f"msg_{uuid4().hex}", timestamp=stamp, keys=[key])
    return {**headers, "content-type": "application/json"}


def result(body: bytes) -> list[RunMessage]:
    """The messages of an answer to an invocation."""
    return msgspec.json.decode(body, type=InvocationResult).messages


class CheckpointServer:
    """Commits what it is sent, one group a checkpoint, but for the tokens in `refused`; `stumble` may answer in its
    place."""

    def __init__(self) -> None:
        self.url = ""
        self.refused: set[str] = set()
        self.requests: list[list[Checkpoint]] = []
        self.frames: list[list[HolderSays]] = []
        self.also: list[HolderMessage] = []
        self.is_asked = asyncio.Event()
        """Set by the first request."""
        self.open = asyncio.Event()
        """Answers are held back while it is not set."""
        self.open.set()
        self.stumble: Callable[[web.Request], web.StreamResponse | None] = lambda _: None

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if (stumbled := self.stumble(request)) is not None:
            return stumbled
        signing.verify(body, dict(request.headers), keys=[KEY], now=time.time())
        given = checkpoints.decode(body)
        assert request.headers["authorization"] == f"Bearer {given[0].token}"
        self.requests.append(given)
        self.is_asked.set()
        if not self.refused.isdisjoint(one.token for one in given):
            return web.Response(status=401)
        await self.open.wait()
        return web.Response(body=msgspec.json.encode([self.commit(one) for one in given]))

    def commit(self, checkpoint: Checkpoint) -> list[HolderMessage]:
        frame = checkpoint.messages
        self.frames.append(frame)
        numbers: dict[str, list[int]] = {}
        for message in frame:
            if not isinstance(message, LogLine) and message.n:
                numbers.setdefault(message.run_id, []).append(message.n)
        also, self.also = self.also, []
        return [*(Committed(runs={run: n}, group=len(self.frames)) for run, n in numbers.items()), *also]
