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

import msgspec

from rotor.protocol.json import Raw
from rotor.protocol.messages import Memo, StepDone, StepOp
from rotor.sdk.branches import Task
from rotor.sdk.replay import Key

__all__ = ["Answer", "Call", "Stage", "done_memo"]

Stage: TypeAlias = Literal["new", "gated", "running", "sent", "waiting", "lost", "held", "ended"]


class Answer(asyncio.Future[Any]):
    """What a branch inside a call is suspended on. Whoever cancels it has made that branch ready to run."""

    __slots__ = ("call", "leave")

    def __init__(self, call: Call, leave: Callable[[Call], None], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.call = call
        self.leave = leave

    def cancel(self, msg: Any | None = None) -> bool:
        self.leave(self.call)
        return super().cancel(msg)


class Call(msgspec.Struct, eq=False, kw_only=True):
    """One use of a step by the body."""

    id: str
    index: int
    key: Key
    """Both of them."""
    op: StepOp
    task: Task
    memo: Memo | None = None
    """What is recorded of the step, as far as the call knows."""
    stage: Stage = "new"
    attempts: int = 0
    """Which try of its body runs, or ran last."""
    sent: int = 0
    """The number of the message whose acknowledgement it waits for."""
    inside: bool = False
    """The step holds its branch."""
    answer: Answer | None = None
    untimed: bool = False
    """Seen to be suspended with no timeout around it."""
    decoded: tuple[Raw, Any] | None = None
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
