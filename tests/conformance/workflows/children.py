"""Workflows that invoke others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rotor import Context
from rotor.errors import (
    LimitError,
    NonRetriableError,
    RetryAfterError,
    UnknownFunctionError,
    WorkflowCancelledError,
    WorkflowFailedError,
    WorkflowTimeoutError,
)
from tests.conformance.ledger import note
from tests.conformance.workflows import KeyData, workflow


@dataclass
class Score:
    points: int
    of: str


@workflow("children.scorer")
async def scorer(ctx: Context[KeyData]) -> Score:
    await ctx.step.run("look", note, ctx.event.data["key"], "scored")
    return Score(7, ctx.event.data["key"])


@workflow("children.sleeper")
async def sleeper(ctx: Context[KeyData]) -> None:
    await ctx.step.sleep("long", "1h")


@workflow("children.failing")
async def failing(ctx: Context[KeyData]) -> None:
    raise NonRetriableError("the child is lost")


@workflow("children.parent", retries=1)
async def parent(ctx: Context[KeyData]) -> Any:
    """Invokes what it is told, and fails once afterwards: the child is not started again."""
    data = ctx.event.data
    try:
        child = await ctx.step.invoke(
            "child", workflow=data["workflow"], data={"key": data["key"]}, timeout=data.get("timeout", "30s")
        )
    except (WorkflowFailedError, WorkflowTimeoutError, WorkflowCancelledError, UnknownFunctionError) as error:
        return [type(error).__name__, error.name, error.message]
    if ctx.attempt == 0:
        raise RetryAfterError("once more", 0.05)
    return [child.result, child.run_id]


@workflow("children.typed-parent")
async def typed_parent(ctx: Context[KeyData]) -> list[Any]:
    child = await ctx.step.invoke("child", workflow=scorer, data={"key": ctx.event.data["key"]}, timeout="30s")
    return [type(child.result).__name__, child.result.points]


@workflow("children.endless")
async def endless(ctx: Context[KeyData]) -> int:
    """Invokes itself as deep as it may; how deep that was."""
    try:
        child = await ctx.step.invoke("deeper", workflow="children.endless", data=ctx.event.data, timeout="1m")
    except LimitError:
        return 0
    depth: int = child.result
    return depth + 1


@workflow("children.family")
async def family(ctx: Context[KeyData]) -> Any:
    """A parent of a parent of a sleeper."""
    data = {"key": ctx.event.data["key"], "workflow": "children.sleeper"}
    return await ctx.step.invoke("middle", workflow="children.parent", data=data, timeout="1h")
