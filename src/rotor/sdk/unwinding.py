"""Unwinds a workflow's body: cancels its tasks, and the tasks that they start on the way out, until none is left."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from rotor.sdk.branches import Branches

__all__ = ["unwind"]

ROUNDS: Final = 10
ROUND_SECONDS: Final = 1.0
"""How long a task may take to clean up before it is cancelled again."""

_logger = logging.getLogger("rotor.worker")


async def unwind(branches: Branches, run_id: str) -> None:
    """Cancel every branch but the one that calls this. One that does not end is left to itself: nothing that it does
    is recorded."""
    this = asyncio.current_task()
    for _ in range(ROUNDS):
        tasks = branches.live - {this}
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        done, _ = await asyncio.wait(tasks, timeout=ROUND_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()  # what a body raises while it is unwound concerns nobody
    left = branches.live - {this}
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
