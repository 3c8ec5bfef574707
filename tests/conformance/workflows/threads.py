"""Plain `def` handlers, whose steps block."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from rotor import SyncContext
from rotor.errors import RetryAfterError, SignalTimeoutError, StepError
from tests.conformance.ledger import note
from tests.conformance.workflows import KeyData, workflow


@workflow("threads.everything", retries=1)
def everything(ctx: SyncContext[KeyData]) -> dict[str, Any]:
    """Every primitive once, then all of it once more from the records."""
    key = ctx.event.data["key"]
    ran = ctx.step.run("run", note, key, "ran")
    ctx.step.sleep("sleep", "50ms")
    ctx.step.sleep_until("until", ctx.event.ts)
    child = ctx.step.invoke("invoke", workflow="children.scorer", data={"key": key}, timeout="30s")
    ctx.step.send_event("send", name="ping", data={"key": key, "n": 5})
    event = ctx.step.wait_for_event("event", event="ping", match={"data.key": key}, timeout="30s")
    try:
        ctx.step.wait_for_signal("no signal", signal=f"never-{key}", timeout="50ms")
    except SignalTimeoutError:
        ctx.step.run("noted", note, key, "no signal")
    signal = ctx.step.wait_for_signal("signal", signal=f"gate-{key}", timeout="30s")
    if ctx.attempt == 0:
        raise RetryAfterError("once more", 0.05)
    return {"ran": ran, "child": child.result, "event": event.data["n"] if event else None, "signal": signal}


@workflow("threads.parallel", retries=1)
def parallel(ctx: SyncContext[KeyData]) -> Any:
    """Branches of several steps in threads, with other work between, and a sleep in one."""
    key = ctx.event.data["key"]

    def branch(name: str) -> str:
        one = ctx.step.run(f"{name}-one", note, key, f"{name} one")
        time.sleep(0.01)
        if name == "b":
            ctx.step.sleep("b-sleep", "100ms")
        return f"{one}, {ctx.step.run('shared', note, key, f'{name} two')}"

    results = ctx.step.parallel([partial(branch, name) for name in "abc"])
    if ctx.attempt == 0:
        raise RetryAfterError("once more", 0.05)
    return results


@workflow("threads.failing")
def failing(ctx: SyncContext[KeyData]) -> str:
    def fail() -> None:
        raise LookupError("this branch")

    key = ctx.event.data["key"]
    try:
        ctx.step.parallel([lambda: ctx.step.run("well", note, key, "well"), lambda: ctx.step.run("ill", fail)])
    except StepError as error:
        return error.name
    return "nothing was raised"
