"""Unwinds a workflow's body: cancels its tasks, and the tasks that they start on the way out, until none is left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Final

from rotor.sdk.branches import Branches, Task

__all__ = ["TURNS", "cancel_branches", "is_unwound", "unwind"]

ROUNDS: Final = 10
ROUND_SECONDS: Final = 1.0
"""How long a task may take to clean up before it is cancelled again."""
TURNS: Final = 3
"""Of the event loop, for those who need no more: to wait for an end costs more than the end of a body."""

_logger = logging.getLogger("rotor.worker")


def cancel_branches(branches: Branches) -> Collection[Task]:
    """Cancel every branch but the one that calls this; return those that have still to end."""
    if not branches.live:
        return ()
    this = asyncio.current_task()
    tasks = [task for task in branches.live if task is not this and not task.done()]
    for task in tasks:
        task.cancel()
    return tasks


def is_unwound(branches: Branches, tasks: Collection[Task]) -> bool:
    """Whether every branch has ended, of which `tasks` have been cancelled."""
    for task in branches.live:
        if not task.done():
            return False
    _disregard(tasks)
    return True


async def unwind(branches: Branches, run_id: str, tasks: Collection[Task]) -> None:
    """Return once every branch but the one that calls this has ended, of which `tasks` have been cancelled. One that
    does not end is left to itself: nothing that it does is recorded."""
    for _ in range(ROUNDS):
        if not tasks:
            return
        await _ended(tasks)
        _disregard(tasks)
        tasks = cancel_branches(branches)
    for task in tasks:
        asyncio._unregister_task(task)  # else the end of the event loop would wait for it
    if tasks:
        _logger.warning(
            "run %s has been suspended, but %d of its tasks ignore their cancellation and go on in this process: "
            "let CancelledError pass in the workflow",
            run_id,
            len(tasks),
            extra={"run_id": run_id},
        )


def _disregard(tasks: Collection[Task]) -> None:
    """What a body raises while it is unwound concerns nobody."""
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()


async def _ended(tasks: Collection[Task]) -> None:
    """Return when all of them have, or the round is over."""
    for _ in range(TURNS):  # nearly all that is unwound has nothing to clean up
        if all(task.done() for task in tasks):
            return
        await asyncio.sleep(0)
    await asyncio.wait(tasks, timeout=ROUND_SECONDS)
