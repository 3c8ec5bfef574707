"""Runs that log."""

from __future__ import annotations

from rotor import Context
from tests.conformance.workflows import KeyData, workflow


@workflow("logs.lines")
async def lines(ctx: Context[KeyData]) -> None:
    async def work() -> None:
        ctx.logger.warning("in a step")

    ctx.logger.info("begins")
    await ctx.step.run("work", work)
    await ctx.step.run("work", lambda: ctx.logger.warning("in a thread"))
    await ctx.step.sleep("nap", "100ms")
    ctx.logger.info("after a %s", "sleep")
    ctx.logger.error("ends\nin two lines")
