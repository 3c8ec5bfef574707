"""What the HTTP API answers, as typed values.

Fields that the API gains later are ignored, so that an older client reads a newer server.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, NotRequired, TypedDict, TypeVar

import msgspec

from rotor.protocol.messages import Error, LogLevel, RunStatus, StepOp, StepStatus

__all__ = [
    "Completion",
    "EventDetail",
    "EventRecord",
    "FunctionRecord",
    "LogLine",
    "NewEvent",
    "Page",
    "Run",
    "SignalLink",
    "Step",
]

T = TypeVar("T")

ENDED: frozenset[RunStatus] = frozenset({"completed", "failed", "cancelled"})


class NewEvent(TypedDict):
    """An event to send with `send_many`. `ts` is an aware datetime, RFC 3339 text or epoch milliseconds."""

    name: str
    data: NotRequired[Any]
    id: NotRequired[str]
    ts: NotRequired[datetime | str | int]


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """A value that the API answered."""


class EventRecord(Resource, frozen=True, kw_only=True):
    """An event as the server keeps it."""

    id: str
    name: str
    data: Any = None
    ts: datetime | None = None


class Step(Resource, frozen=True, kw_only=True):
    """One step of a run. `index` is 0 for the first use of `id` in the run, then 1, 2 and so on."""

    id: str
    index: int
    op: StepOp
    status: StepStatus
    attempts: int = 0
    output: Any = None
    error: Error | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    deadline: datetime | None = None
    waits_for: str | None = None
    """What it waits or waited for: `event:NAME`, `signal:ID`, `child`."""
    version: str | None = None
    """Which code made it."""
    child_run_id: str | None = None


class Run(Resource, frozen=True, kw_only=True):
    """One run of a function, with its steps where it was asked for by its id.

    `attempt` counts the tries of the body that failed. `replay_of` is the run that this one repeats.
    """

    id: str
    function_id: str
    status: RunStatus
    event: EventRecord | None = None
    output: Any = None
    error: Error | None = None
    attempt: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    parent_run_id: str | None = None
    replay_of: str | None = None
    steps: list[Step] = []

    @property
    def ended(self) -> bool:
        """Whether the run is completed, failed or cancelled."""
        return self.status in ENDED


class LogLine(Resource, frozen=True, kw_only=True):
    """One line of a run's log. `number` is its place there: 0, 1, 2 and so on.

    `missed` counts the lines right before it that were lost on their way to the server.
    """

    number: int
    at: datetime
    level: LogLevel
    message: str
    step_id: str | None = None
    step_index: int | None = None
    missed: int = 0


class EventDetail(EventRecord, frozen=True, kw_only=True):
    """An event with the newest of the runs that it started.

    `effective_at` is when it began to start runs; None while it is deferred. More runs, if there are, come from
    `runs.list(event_id=..., cursor=runs_next_cursor)`.
    """

    accepted_at: datetime | None = None
    effective_at: datetime | None = None
    runs: list[Run] = []
    runs_next_cursor: str | None = None


class FunctionTrigger(Resource, frozen=True, kw_only=True):
    """What starts a function: an event, or a cron with its next fire."""

    event: str | None = None
    match: str | None = None
    cron: str | None = None
    timezone: str | None = None
    next_at: datetime | None = None


class FunctionRecord(Resource, frozen=True, kw_only=True):
    """A function as it is registered. `serve_url` is None where workers that dial in serve it."""

    id: str
    triggers: list[FunctionTrigger] = []
    retries: int = 3
    serve_url: str | None = None
    app: str = ""
    version: str = ""
    paused_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class Completion(Resource, frozen=True, kw_only=True):
    """What became of a signal: delivered to the waiting run, or kept until a run waits for it."""

    delivered: bool
    run_id: str | None = None


class SignalLink(Resource, frozen=True, kw_only=True):
    """Whoever opens `url` may approve or reject there, once, before `expires_at`."""

    url: str
    expires_at: datetime


class Page(Resource, Generic[T], frozen=True, kw_only=True):
    """One page of a list; `next_cursor` asks for the next, None says that this is the last."""

    items: list[T]
    next_cursor: str | None = None
