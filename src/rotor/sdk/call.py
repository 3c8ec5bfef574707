"""One step call, from the moment the body asks for the step until it is handed what is recorded of it.

A call goes through these stages:

- `new`: nothing final is recorded; the body of the step is to run, or the wait to be registered;
- `gated`: new, while the run may start no step (it is parked, or being stopped);
- `running`: the step's body runs;
- `sent`: a message of it must be acknowledged before it can go on;
- `waiting`: it waits durably, for a deadline or a message at the server;
- `lost`: it was given up before this replay; nothing will come;
- `held`: its result is known, and waits for its turn (`rotor.sdk.replay`);
- `ended`: its result has been handed out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from rotor.protocol.json import Raw
from rotor.protocol.messages import Memo, StepDone, StepOp
from rotor.sdk.branches import Task

__all__ = ["Answer", "Call", "Stage", "done_memo"]

Stage: TypeAlias = Literal["new", "gated", "running", "sent", "waiting", "lost", "held", "ended"]


class Answer(asyncio.Future[Any]):
    """What a branch inside a call is suspended on. Whoever cancels it has made that branch ready to run."""

    on_cancel: Callable[[], None]

    def cancel(self, msg: Any | None = None) -> bool:
        self.on_cancel()
        return super().cancel(msg)


class Call:
    """One use of a step by the body."""

    __slots__ = (
        "answer",
        "attempts",
        "decoded",
        "id",
        "index",
        "inside",
        "key",
        "memo",
        "op",
        "sent",
        "stage",
        "task",
        "untimed",
    )

    def __init__(self, id: str, index: int, op: StepOp, task: Task, memo: Memo | None) -> None:
        self.id = id
        self.index = index
        self.key = (id, index)
        self.op = op
        self.task = task
        self.memo = memo
        """What is recorded of the step, as far as the call knows."""
        self.stage: Stage = "new"
        self.attempts = 0
        """Which try of its body runs, or ran last."""
        self.sent = 0
        """The number of the message whose acknowledgement it waits for."""
        self.inside = False
        """The step holds its branch."""
        self.answer: Answer | None = None
        self.untimed = False
        """Seen to be suspended with no timeout around it."""
        self.decoded: tuple[Raw, Any] | None = None
        """What its body gave in this process, encoded, and decoded again."""


def done_memo(message: StepDone) -> Memo:
    """What is recorded of a step that is done."""
    return Memo(
        id=message.id,
        index=message.index,
        op=message.op,
        status="completed",
        attempts=message.attempts,
        output=message.output,
    )
