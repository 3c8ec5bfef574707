"""Rotor: durable workflows for Python on one Postgres.

    from rotor import Context, create_function

    @create_function(id="welcome", trigger={"event": "user.created"})
    async def welcome(ctx: Context) -> None:
        await ctx.step.sleep("settle-in", "24h")
        await ctx.step.run("send-welcome", send_welcome, ctx.event.data["email"])

What stands here, in `rotor.errors` and in `rotor.testing` is public; all else may change. A name is imported when it is
first asked for, so that `import rotor` and every command of `rotor` start at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rotor import errors as errors

if TYPE_CHECKING:
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

_PLACES = {
    "create_function": "rotor.sdk.definition",
    "Context": "rotor.sdk.context",
    "SyncContext": "rotor.sdk.context",
    "Event": "rotor.sdk.outcomes",
    "InvokeResult": "rotor.sdk.outcomes",
    "current_step": "rotor.sdk.place",
    "Function": "rotor.sdk.functions",
    "EventTrigger": "rotor.sdk.functions",
    "CronTrigger": "rotor.sdk.functions",
    "serve_workflow": "rotor.sdk.serve",
    "connect": "rotor.sdk.worker",
    "Worker": "rotor.sdk.worker",
    "Rotor": "rotor.sdk.client",
    "SyncRotor": "rotor.sdk.sync_client",
    "NewEvent": "rotor.sdk.resources",
}
"""Where each name is made. Type checkers read the imports above, which a test holds against this table."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
