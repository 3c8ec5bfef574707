"""Functions that a schedule or several triggers start."""

from __future__ import annotations

from typing import Any

from rotor import Context, create_function


@create_function(id="schedules.yearly", trigger={"cron": "0 9 1 1 *", "timezone": "Europe/Paris"})
async def yearly(ctx: Context[Any]) -> Any:
    return {"name": ctx.event.name, "data": ctx.event.data}


@create_function(
    id="schedules.choosy",
    trigger=[
        {"event": "schedules.first", "match": "data.amount > 10.0 && data.kind == 'order'"},
        {"event": "schedules.second"},
    ],
)
async def choosy(ctx: Context[Any]) -> str:
    return ctx.event.name


@create_function(id="schedules.paused", trigger={"event": "schedules.paused"})
async def paused(ctx: Context[Any]) -> str:
    return "it ran"
