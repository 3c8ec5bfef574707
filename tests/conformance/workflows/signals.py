"""Waits for signals."""

from __future__ import annotations

from typing import Any, TypedDict

from rotor import Context
from rotor.errors import SerializationError, SignalConflictError, SignalTimeoutError
from tests.conformance.workflows import KeyData, workflow


class Approval(TypedDict):
    approved: bool


@workflow("signals.wait")
async def wait(ctx: Context[KeyData]) -> Any:
    """Waits for the signal that it is told, perhaps after a while."""
    data = ctx.event.data
    await ctx.step.sleep("while", data.get("after", 0))
    try:
        return await ctx.step.wait_for_signal("gate", signal=data["signal"], timeout=data.get("timeout", "30s"))
    except (SignalTimeoutError, SignalConflictError) as error:
        return f"{type(error).__name__}: {error.message}"


@workflow("signals.typed")
async def typed(ctx: Context[KeyData]) -> Any:
    try:
        approval = await ctx.step.wait_for_signal(
            "gate", signal=ctx.event.data["signal"], timeout="30s", data_type=Approval
        )
    except SerializationError as error:
        return error.message
    return approval["approved"]
