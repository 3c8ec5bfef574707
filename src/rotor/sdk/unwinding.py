"""Unwinds a workflow's body: cancels its tasks, and the tasks that they start on the way out, until none is left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Final

from rotor.sdk.branches import Branches, Task

__all__ = ["unwind"]

ROUNDS: Final = 10
ROUND_SECONDS: Final = 1.0
"""How long a task may take to clean up before it is cancelled again."""
TURNS: Final = 3
"""Of the event loop, for those who need no more: to wait for an end costs more than the end of a body."""

_logger = logging.getLogger("rotor.worker")


async def unwind(branches: Branches, run_id: str) -> None:
    """Cancel every branch but the one that calls this. One that does not end is left to itself: nothing that it does
    is recorded."""
    this = asyncio.current_task()
    for _ in range(ROUNDS):
        tasks = _alive(branches, this)
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        await _ended(tasks)
        for task in tasks:
            if task.done() and not task.cancelled():
                task.exception()  # what a body raises while it is unwound concerns nobody
    left = _alive(branches, this)
    for task in left:
        asyncio._unregister_task(task)  # else the end of the event loop would wait for it
    if left:
        _logger.warning(
            "run %s has been suspended, but %d of its tasks ignore their cancellation and go on in this process: "
            "let CancelledError pass in the workflow",
            run_id,
            len(left),
            extra={"run_id": run_id},
        )


def _alive(branches: Branches, this: Task | None) -> set[Task]:
    """The branches that have not ended, but for `this`."""
    return {task for task in branches.live if task is not this and not task.done()}


async def _ended(tasks: Collection[Task]) -> None:
    """Return when all of them have, or the round is over."""
    for _ in range(TURNS):  # nearly all that is unwound has nothing to clean up
        await asyncio.sleep(0)
        if all(task.done() for task in tasks):
            return
    await asyncio.wait(tasks, timeout=ROUND_SECONDS)
