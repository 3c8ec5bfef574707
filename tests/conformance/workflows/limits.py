"""Calls of steps with arguments that cannot be used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from rotor import Context
from tests.conformance.ledger import note
from tests.conformance.workflows import KeyData, workflow

Try = Callable[[Any], Awaitable[Any]]
"""Takes `ctx.step`, and calls a step wrongly."""


async def nothing() -> None:
    """A body that is never reached."""


TRIES: dict[str, Try] = {
    "run: empty id": lambda step: step.run("", nothing),
    "run: id too long": lambda step: step.run("x" * 257, nothing),
    "run: id with a NUL": lambda step: step.run("a\0b", nothing),
    "run: id with a lone surrogate": lambda step: step.run("\ud800", nothing),
    "run: id is a number": lambda step: step.run(7, nothing),
    "run: no function": lambda step: step.run("ran", "nothing"),
    "run: a coroutine": lambda step: step.run("ran", None),
    "run: too many retries": lambda step: step.run("ran", nothing, retries=101),
    "run: negative timeout": lambda step: step.run("ran", nothing, timeout=-1),
    "sleep: no duration": lambda step: step.sleep("s", "soon"),
    "sleep: negative": lambda step: step.sleep("s", -5),
    "sleep: too long": lambda step: step.sleep("s", "9999w"),
    "sleep: not a number": lambda step: step.sleep("s", float("nan")),
    "sleep_until: without a zone": lambda step: step.sleep_until("s", "2030-01-01T00:00:00"),
    "sleep_until: too far": lambda step: step.sleep_until("s", "9000-01-01T00:00:00Z"),
    "wait_for_event: no timeout": lambda step: step.wait_for_event("w", event="ping"),
    "wait_for_event: empty name": lambda step: step.wait_for_event("w", event="", timeout=1),
    "wait_for_event: name too long": lambda step: step.wait_for_event("w", event="x" * 257, timeout=1),
    "wait_for_event: name with a NUL": lambda step: step.wait_for_event("w", event="a\0b", timeout=1),
    "wait_for_event: lone surrogate": lambda step: step.wait_for_event("w", event="\ud800", timeout=1),
    "wait_for_event: match with a NUL": lambda step: step.wait_for_event("w", event="e", match="a\0", timeout=1),
    "wait_for_event: match lone surrogate": lambda step: step.wait_for_event("w", event="e", match="\ud800", timeout=1),
    "wait_for_event: match too long": lambda step: step.wait_for_event("w", event="e", match="x" * 1025, timeout=1),
    "wait_for_event: match is a list": lambda step: step.wait_for_event("w", event="e", match=[1], timeout=1),
    "wait_for_event: unknown path": lambda step: step.wait_for_event("w", event="e", match={"x": 1}, timeout=1),
    "wait_for_event: NUL path": lambda step: step.wait_for_event("w", event="e", match={"data.\0": 1}, timeout=1),
    "wait_for_event: not a scalar": lambda step: step.wait_for_event("w", event="e", match={"data.a": []}, timeout=1),
    "wait_for_event: NaN": lambda step: step.wait_for_event("w", event="e", match={"data.a": float("nan")}, timeout=1),
    "wait_for_event: since what": lambda step: step.wait_for_event("w", event="e", since="then", timeout=1),
    "wait_for_signal: empty id": lambda step: step.wait_for_signal("w", signal="", timeout=1),
    "wait_for_signal: id too long": lambda step: step.wait_for_signal("w", signal="x" * 257, timeout=1),
    "wait_for_signal: id with a NUL": lambda step: step.wait_for_signal("w", signal="a\0b", timeout=1),
    "wait_for_signal: lone surrogate": lambda step: step.wait_for_signal("w", signal="\ud800", timeout=1),
    "invoke: no timeout": lambda step: step.invoke("i", workflow="children.scorer", data={}),
    "invoke: empty id": lambda step: step.invoke("i", workflow="", data={}, timeout=1),
    "invoke: id too long": lambda step: step.invoke("i", workflow="x" * 257, data={}, timeout=1),
    "invoke: id with a NUL": lambda step: step.invoke("i", workflow="a\0b", data={}, timeout=1),
    "invoke: lone surrogate": lambda step: step.invoke("i", workflow="\ud800", data={}, timeout=1),
    "invoke: a number": lambda step: step.invoke("i", workflow=7, data={}, timeout=1),
    "invoke: NaN as data": lambda step: step.invoke("i", workflow="children.scorer", data=float("nan"), timeout=1),
    "send_event: empty name": lambda step: step.send_event("s", name="", data={}),
    "send_event: name too long": lambda step: step.send_event("s", name="x" * 257, data={}),
    "send_event: name with a NUL": lambda step: step.send_event("s", name="a\0b", data={}),
    "send_event: name lone surrogate": lambda step: step.send_event("s", name="\ud800", data={}),
    "send_event: Rotor's own name": lambda step: step.send_event("s", name="rotor/cron", data={}),
    "send_event: id too long": lambda step: step.send_event("s", name="e", data={}, event_id="x" * 257),
    "send_event: id with a NUL": lambda step: step.send_event("s", name="e", data={}, event_id="a\0b"),
    "send_event: NaN": lambda step: step.send_event("s", name="e", data=float("nan")),
    "send_event: too large": lambda step: step.send_event("s", name="e", data="x" * (5 * 1024 * 1024)),
    "send_event: ts without a zone": lambda step: step.send_event("s", name="e", data={}, ts="2030-01-01T00:00:00"),
    "send_event: ts too far": lambda step: step.send_event("s", name="e", data={}, ts="9000-01-01T00:00:00Z"),
}


@workflow("limits.try", retries=5)
async def try_it(ctx: Context[KeyData]) -> Any:
    """Calls a step wrongly; the error is one that the workflow can catch, and no end of the worker."""
    try:
        value = await TRIES[ctx.event.data["case"]](ctx.step)
    except Exception as error:
        await ctx.step.run("afterwards", note, ctx.event.data["key"], "afterwards")
        return [type(error).__name__, str(error)]
    return ["nothing was raised", value]
