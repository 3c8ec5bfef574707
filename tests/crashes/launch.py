"""Starts a program as `python -m` does, with short leases, and with faults at named points:

    FAULTS="rotor.store.committer:Committer._write after 3 KILL" python -m tests.crashes.launch rotor.cli server

sends the process SIGKILL at the end of the third call of that function. `SETTINGS`, a JSON object, sets others than the
leases. So the product itself has no code for tests.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import runpy
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any, Final

LEASE_SECONDS: Final = 6.0
SETTINGS: Final[dict[str, Any]] = {
    "rotor.limits:LEASE": timedelta(seconds=LEASE_SECONDS),
    "rotor.limits:HEARTBEAT": timedelta(seconds=1),
    "rotor.services.rescuer:ORPHANS_EVERY": 1.0,
    "rotor.store.database:IDLE_IN_TRANSACTION": "2s",
    "rotor.store.intake:HELD_FOR": timedelta(seconds=2),
    "rotor.services.matcher:RETAKEN_AFTER": timedelta(seconds=2),
    "rotor.sdk.worker:RECONNECT_SECONDS_MAX": 0.5,
    "rotor.sdk.websocket:PING_SECONDS": 2.0,
    "rotor.sdk.connection:GREETING_SECONDS": 2.0,
    "rotor.sdk.serve.checkpoints:TIMEOUT_SECONDS": 2.0,
    "rotor.sdk.serve.checkpoints:AWAY_SECONDS": 4.0,
}
"""All that waits waits in proportion to a lease, so that a test need not wait for the usual one."""


def resolve(place: str) -> tuple[Any, str]:
    """The module or class that holds `module:name` or `module:Class.name`, and the name in it."""
    module, _, path = place.partition(":")
    *outer, name = path.split(".")
    owner = functools.reduce(getattr, outer, importlib.import_module(module))
    assert hasattr(owner, name), f"{place} is no more: name another point"
    return owner, name


def plant(fault: str) -> None:
    """Have the process strike itself at one point."""
    place, when, number, signal_name = fault.split()
    owner, name = resolve(place)
    setattr(owner, name, struck(getattr(owner, name), when, int(number), signal.Signals["SIG" + signal_name]))


def struck(function: Callable[..., Any], when: str, number: int, deadly: signal.Signals) -> Callable[..., Any]:
    calls = count(1)

    def strike() -> None:
        if next(calls) == number:
            os.kill(os.getpid(), deadly)

    @functools.wraps(function)
    async def in_a_task(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            strike()
        result = await function(*args, **kwargs)
        if when == "after":
            strike()
        return result

    @functools.wraps(function)
    def at_once(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            strike()
        result = function(*args, **kwargs)
        if when == "after":
            strike()
        return result

    return in_a_task if inspect.iscoroutinefunction(function) else at_once


if __name__ == "__main__":
    for setting, value in SETTINGS.items():
        setattr(*resolve(setting), value)
    for setting, value in json.loads(os.environ.get("SETTINGS", "{}")).items():
        setattr(*resolve(setting), value)
    for one in filter(None, os.environ.get("FAULTS", "").split(";")):
        plant(one)
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
