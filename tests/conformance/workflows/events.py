"""Waits for events, and events that are sent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from rotor import Context, Event
from rotor.errors import ExpressionError, RetryAfterError
from tests.conformance.ledger import note
from tests.conformance.workflows import KeyData, workflow

LONG = "30s"


def number(event: Event[Any] | None) -> Any:
    return None if event is None else event.data["n"]


@workflow("events.gated")
async def gated(ctx: Context[KeyData]) -> list[Any]:
    """Waits for a signal first, so that events may come before their wait; then for as many events as it is told."""
    data = ctx.event.data
    await ctx.step.wait_for_signal("gate", signal=f"gate-{data['key']}", timeout=LONG)
    match, since = {"data.key": data["key"]}, data.get("since")
    return [
        number(await ctx.step.wait_for_event("next", event="ping", match=match, timeout=LONG, since=since))
        for _ in range(data.get("count", 1))
    ]


@workflow("events.matching")
async def matching(ctx: Context[KeyData]) -> dict[str, Any] | None:
    """One wait, with the match that it is given."""
    event = await ctx.step.wait_for_event("ping", event="ping", match=ctx.event.data["match"], timeout=LONG)
    return None if event is None else {"id": event.id, "name": event.name, "data": event.data, "ts": str(event.ts)}


@workflow("events.timeout")
async def timeout(ctx: Context[KeyData]) -> str:
    event = await ctx.step.wait_for_event(
        "nothing", event="ping", match={"data.key": ctx.event.data["key"]}, timeout="200ms"
    )
    return "timed out" if event is None else "an event came"


@workflow("events.own")
async def own(ctx: Context[KeyData]) -> bool:
    """Whether the event that started the run counts among those that it waits for."""
    key = {"data.key": ctx.event.data["key"]}
    return await ctx.step.wait_for_event("own", event="events.own", match=key, timeout="300ms") is not None


@dataclass
class Opened:
    key: str
    n: int
    how: str = "unknown"


@workflow("events.typed")
async def typed(ctx: Context[KeyData]) -> list[Any]:
    event = await ctx.step.wait_for_event(
        "ping", event="ping", match={"data.key": ctx.event.data["key"]}, timeout=LONG, data_type=Opened
    )
    assert event is not None
    return [type(event.data).__name__, event.data.n, event.data.how]


@workflow("events.bad-match")
async def bad_match(ctx: Context[KeyData]) -> str:
    try:
        await ctx.step.wait_for_event("bad", event="ping", match=ctx.event.data["match"], timeout=LONG)
    except ExpressionError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was raised"


@workflow("events.sender", retries=1)
async def sender(ctx: Context[KeyData]) -> list[str]:
    """Sends, fails, and comes by again: the event is sent once."""
    data = {"key": ctx.event.data["key"]}
    first = await ctx.step.send_event("tell", name="events.heard", data=data)
    again = await ctx.step.send_event("tell", name="events.heard", data=data)
    if ctx.attempt == 0:
        raise RetryAfterError("once more", 0.05)
    return [first, again]


@workflow("events.same-id")
async def same_id(ctx: Context[KeyData]) -> list[str]:
    """Two sends under one event id are one event."""
    key = ctx.event.data["key"]
    return [
        await ctx.step.send_event(step, name="events.heard", data={"key": key}, event_id=f"only-{key}")
        for step in ("one", "two")
    ]


@workflow("events.later")
async def later(ctx: Context[KeyData]) -> str:
    data = {"key": ctx.event.data["key"]}
    return await ctx.step.send_event(
        "later", name="events.heard", data=data, ts=ctx.event.ts + timedelta(milliseconds=900)
    )


@workflow("events.heard")
async def heard(ctx: Context[KeyData]) -> None:
    await ctx.step.run("note", note, ctx.event.data["key"], "heard")


@workflow("events.two-at-once")
async def two_at_once(ctx: Context[KeyData]) -> list[Any]:
    """Two waits for the same events, side by side."""
    match = {"data.key": ctx.event.data["key"]}
    waits = (ctx.step.wait_for_event(name, event="ping", match=match, timeout=LONG) for name in ("left", "right"))
    return sorted(number(event) for event in await asyncio.gather(*waits))
