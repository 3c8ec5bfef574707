"""Rotor: durable workflows for Python on one Postgres.

    from rotor import Context, create_function

    @create_function(id="welcome", trigger={"event": "user.created"})
    async def welcome(ctx: Context) -> None:
        await ctx.step.sleep("settle-in", "24h")
        await ctx.step.run("send-welcome", send_welcome, ctx.event.data["email"])

What stands here and in `rotor.errors` is public; all else may change.
"""

from rotor.sdk.client import Rotor
from rotor.sdk.context import Context, SyncContext
from rotor.sdk.definition import create_function
from rotor.sdk.functions import CronTrigger, EventTrigger, Function
from rotor.sdk.outcomes import Event, InvokeResult
from rotor.sdk.place import current_step
from rotor.sdk.resources import NewEvent
from rotor.sdk.serve import serve_workflow
from rotor.sdk.sync_client import SyncRotor
from rotor.sdk.worker import Worker, connect

__all__ = [
    "create_function",
    "Context",
    "SyncContext",
    "Event",
    "InvokeResult",
    "current_step",
    "Function",
    "EventTrigger",
    "CronTrigger",
    "serve_workflow",
    "connect",
    "Worker",
    "Rotor",
    "SyncRotor",
    "NewEvent",
]
