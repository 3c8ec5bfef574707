"""Every change of status that a run or a step can make: the table that database and docs are tested against."""

from __future__ import annotations

from typing import Final

from rotor.protocol.messages import RunStatus, StepStatus

__all__ = ["RUN_CHANGES", "RUN_ENDED", "STEP_CHANGES", "STEP_ENDED"]

RUN_ENDED: Final[frozenset[RunStatus]] = frozenset({"completed", "failed", "cancelled"})
STEP_ENDED: Final[frozenset[StepStatus]] = frozenset({"completed", "failed", "cancelled", "timed_out"})

RUN_CHANGES: Final[dict[RunStatus, dict[RunStatus, str]]] = {
    "queued": {
        "running": "a worker or an invocation claims it",
        "cancelled": "it is cancelled before anyone claims it",
    },
    "running": {
        "completed": "the body returns",
        "failed": "the body raises and has no retry left, or its workers die too often",
        "queued": "the body raises and is tried again, its holder is lost, or gives it back",
        "waiting": "every branch of the body is parked",
        "cancelled": "it was cancelled and its step in flight has ended",
    },
    "waiting": {
        "queued": "a wait comes to its end",
        "running": "a wait comes to its end, and who keeps the body goes on at once",
        "cancelled": "it is cancelled while it waits",
    },
    "completed": {},
    "failed": {},
    "cancelled": {},
}

STEP_CHANGES: Final[dict[StepStatus, dict[StepStatus, str]]] = {
    "running": {
        "running": "its worker died, and it starts again",
        "completed": "the body returns",
        "retrying": "the body raises and is tried again",
        "failed": "the body raises and has no retry left",
        "cancelled": "the workflow gives it up",
    },
    "retrying": {
        "running": "its next try takes a while",
        "retrying": "another try fails, or the backoff is over",
        "completed": "a later try returns",
        "failed": "the last try raises",
        "cancelled": "the workflow gives it up, or the run ends",
    },
    "waiting": {
        "completed": "the deadline of a sleep, or the awaited message, arrives",
        "failed": "the invoked workflow fails",
        "timed_out": "the deadline of any other wait arrives first",
        "cancelled": "the workflow gives it up, or the run ends",
    },
    "completed": {},
    "failed": {},
    "cancelled": {},
    "timed_out": {},
}
