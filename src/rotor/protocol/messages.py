"""The messages of the protocol: one set for both transports.

A *frame* is a JSON array of messages. Over WebSocket each side sends frames; over HTTP a checkpoint holds a frame of
the SDK, and is answered by a frame of the server. `docs/reference/protocol.md` says when each is sent.

The server knows two facts about a step: it is **done** (or failed), perhaps with an event to emit; or it is **parked**
until the first of a deadline and a message on a topic, perhaps with a child run to start.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

import msgspec

from rotor import limits
from rotor.protocol.json import NULL, Raw
from rotor.tracing import TRACEPARENT

PROTOCOL_VERSION = 1

StepOp: TypeAlias = Literal["run", "sleep", "wait_for_event", "invoke", "send_event", "wait_for_signal"]
StepStatus: TypeAlias = Literal["running", "retrying", "waiting", "completed", "failed", "cancelled", "timed_out"]
RunStatus: TypeAlias = Literal["queued", "running", "waiting", "completed", "failed", "cancelled"]
Traceparent: TypeAlias = Annotated[str, msgspec.Meta(pattern=f"^{TRACEPARENT}$")]
"""W3C's trace context: which span something comes from."""
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error", "critical"]


class Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A frozen value whose unset fields do not travel."""


class Error(Struct, frozen=True):
    """The error of a step or a run: class name, message and traceback of its cause."""

    name: str
    message: str
    stack: str = ""


class Event(Struct, frozen=True):
    """An event as a workflow sees it. `ts` is when it happened, by its sender or else by the server."""

    id: str
    name: str
    data: Raw
    ts: datetime


class Memo(Struct, frozen=True):
    """What is recorded of one step.

    `group` numbers the commit that settled it: memos of one group were delivered together the first time, and replay
    delivers groups in their order, so that a race ends as it did.
    """

    id: str
    index: int
    op: StepOp
    status: StepStatus
    attempts: int = 0
    output: Raw = NULL
    error: Error | None = None
    child_run_id: str | None = None
    group: int = 0


# --- what an app serves


class Trigger(Struct, frozen=True):
    """What starts a function: an event name with an optional CEL condition, or a cron schedule with a time zone."""

    event: str | None = None
    match: str | None = None
    cron: str | None = None
    timezone: str | None = None


class FunctionSpec(Struct, frozen=True):
    """One function as an app registers it."""

    id: str
    triggers: list[Trigger]
    retries: int = 3


class Manifest(Struct, frozen=True):
    """What an app serves: the answer to GET on its serve path, and the body of its registration."""

    functions: list[FunctionSpec]
    app: str = ""
    version: str = ""
    """Which code this is: each step of a run shows which made it."""
    serve_url: str | None = None


# --- SDK to server, about a run
# `n` numbers the messages of one run's holder; the answer (`Committed`, `Refused`) names it.


class StepStarted(Struct, frozen=True, tag_field="type", tag="step_started"):
    """A step's body has begun. Sent for bodies that take a while, so that people see them; and, with `n`, before the
    body of an at-most-once step.
    """

    run_id: str
    id: str
    index: int
    attempts: int
    n: int = 0
    at_most_once: bool = False
    elapsed_ms: int = 0
    """How long ago it began."""


class StepDone(Struct, frozen=True, tag_field="type", tag="step_done"):
    """A step has its result; with `emit`, the event is accepted in the same transaction."""

    run_id: str
    n: int
    id: str
    index: int
    op: StepOp
    output: Raw = NULL
    attempts: int = 1
    elapsed_ms: int = 0
    emit: Emission | None = None


class Emission(Struct, frozen=True):
    """An event that a step sends. `ts` in the future defers it."""

    name: str
    data: Raw = NULL
    id: str | None = None
    ts: datetime | None = None
    traceparent: Traceparent | None = None


class StepFailed(Struct, frozen=True, tag_field="type", tag="step_failed"):
    """A try of a step's body raised. The server decides whether and when it is tried again."""

    run_id: str
    n: int
    id: str
    index: int
    error: Error
    attempts: int
    retries: int
    retriable: bool = True
    retry_after_seconds: float | None = None
    elapsed_ms: int = 0


class Child(Struct, frozen=True):
    """The run that `invoke` starts."""

    function_id: str
    data: Raw = NULL
    traceparent: Traceparent | None = None


class StepParked(Struct, frozen=True, tag_field="type", tag="step_parked"):
    """A step waits until the first of a deadline and a message on `topic`.

    The deadline is `seconds` from the commit by the database's clock, or the instant `until`. `topic` is
    `event:NAME`, `signal:ID` or, with `child`, `child`. A wait without a topic is a sleep: its deadline completes it;
    the deadline of any other wait times it out.
    """

    run_id: str
    n: int
    id: str
    index: int
    op: StepOp
    seconds: float | None = None
    until: datetime | None = None
    topic: str | None = None
    match: str | None = None
    """For an event: a CEL expression over `data`, `name`, `id`, `ts`."""
    equals: dict[str, Raw] | None = None
    """For an event: path to value, all of which must be equal."""
    since: datetime | None = None
    """For an event: how far back to look; None means since the run was created."""
    since_now: bool = False
    """For an event: look at what is accepted after this commit only."""
    child: Child | None = None


class StepWithdrawn(Struct, frozen=True, tag_field="type", tag="step_withdrawn"):
    """The body gave up a wait (a cancelled task, the loser of a race)."""

    run_id: str
    n: int
    id: str
    index: int


class RunCompleted(Struct, frozen=True, tag_field="type", tag="run_completed"):
    """The body returned."""

    run_id: str
    n: int
    output: Raw = NULL


class RunFailed(Struct, frozen=True, tag_field="type", tag="run_failed"):
    """The body raised. The server decides whether and when it is tried again."""

    run_id: str
    n: int
    error: Error
    retries: int
    retriable: bool = True
    retry_after_seconds: float | None = None
    attempt: int | None = None
    """Which try it was, as `StartRun` said: told twice, it counts once."""


class RunParked(Struct, frozen=True, tag_field="type", tag="run_parked"):
    """Every branch of the body waits on parked steps. `settled` is the number that the holder was last told (by
    `StartRun` or `Settled`): where the server has settled more since, it answers with those instead of letting the run
    go.
    """

    run_id: str
    n: int
    settled: int
    kept: bool = False
    """The holder keeps the body in memory and can go on from the changes alone."""


class RunCancelled(Struct, frozen=True, tag_field="type", tag="run_cancelled"):
    """The holder has stopped a run that was being cancelled; its step in flight is recorded."""

    run_id: str
    n: int


class RunReleased(Struct, frozen=True, tag_field="type", tag="run_released"):
    """The holder gives the run back unfinished (shutdown, or a body it no longer keeps): another goes on at once."""

    run_id: str
    n: int


StepMessage: TypeAlias = StepStarted | StepDone | StepFailed | StepParked | StepWithdrawn
RunMessage: TypeAlias = StepMessage | RunCompleted | RunFailed | RunParked | RunCancelled | RunReleased


class LogLine(Struct, frozen=True, tag_field="type", tag="log_line"):
    """What the run's code has logged, for people. Nothing is decided by it and nothing answers it, so a line may be
    lost; `number` counts the lines of this holder from 1, and a gap in it says so.
    """

    run_id: str
    number: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
    level: LogLevel
    message: Annotated[str, msgspec.Meta(max_length=limits.LOG_LINE_CHARACTERS)]
    step_id: Annotated[str, msgspec.Meta(max_length=limits.ID_CHARACTERS)] | None = None
    """The step in whose body it was logged, if in one."""
    step_index: Annotated[int, msgspec.Meta(ge=0, le=limits.STEPS_PER_RUN)] = 0


HolderSays: TypeAlias = RunMessage | LogLine


# --- server to SDK, about a run


class StartRun(Struct, frozen=True, tag_field="type", tag="start_run"):
    """Run the body from the top; steps in `memo` answer from it. The holder may write under `lease_id` alone."""

    run_id: str
    lease_id: str
    function_id: str
    attempt: int
    event: Event
    memo: list[Memo]
    settled: int = 0
    traceparent: str | None = None
    """The trace that the run belongs to: that of its event."""


class ResumeRun(Struct, frozen=True, tag_field="type", tag="resume_run"):
    """A run that was parked is this holder's again, and it keeps the body: go on, with what changed since in `memo`."""

    run_id: str
    memo: list[Memo]
    settled: int


class Committed(Struct, frozen=True, tag_field="type", tag="committed"):
    """Messages are durable: by run, their numbers. `group` is the commit's number."""

    runs: dict[str, list[int]]
    group: int = 0


class Settled(Struct, frozen=True, tag_field="type", tag="settled"):
    """Waits of a held run came to an end. `settled` is the server's count of them, which `RunParked` gives back."""

    run_id: str
    memo: list[Memo]
    settled: int


class Refused(Struct, frozen=True, tag_field="type", tag="refused"):
    """The message numbered `n` was not written, and why; its step fails with the error."""

    run_id: str
    n: int
    error: Error


class CancelRun(Struct, frozen=True, tag_field="type", tag="cancel_run"):
    """The run is being cancelled: let the step in flight finish, start nothing more, answer `RunCancelled`."""

    run_id: str


class DropRun(Struct, frozen=True, tag_field="type", tag="drop_run"):
    """The run is not this holder's any more (lease lost, or it ended): forget it, write nothing."""

    run_id: str
    reason: str = ""


HolderMessage: TypeAlias = StartRun | ResumeRun | Committed | Settled | Refused | CancelRun | DropRun


# --- the connection of a worker


class Hello(Struct, frozen=True, tag_field="type", tag="hello"):
    """The first message of a worker: what it serves, and how many runs it takes at once. With `lease_id` it comes back
    after a lost connection and holds what it held.
    """

    protocol: int
    worker: str
    manifest: Manifest
    slots: int
    keeps: int = 0
    """How many bodies it keeps of what it parked: the last ones."""
    lease_id: str | None = None
    held: list[str] = []
    """The runs it still holds."""


class Welcome(Struct, frozen=True, tag_field="type", tag="welcome"):
    """The answer to `Hello`."""

    lease_id: str
    heartbeat_seconds: float
    payload_bytes_max: int


class Heartbeat(Struct, frozen=True, tag_field="type", tag="heartbeat"):
    """Sent by a worker at the pace of `Welcome`; without it the lease runs out."""


class Goodbye(Struct, frozen=True, tag_field="type", tag="goodbye"):
    """From a worker: take no more runs for me, I am stopping. From the server: I am stopping, connect again."""


WorkerMessage: TypeAlias = Hello | Heartbeat | Goodbye | HolderSays
ServerMessage: TypeAlias = Welcome | Goodbye | HolderMessage


worker_frame = msgspec.json.Decoder(list[WorkerMessage])
server_frame = msgspec.json.Decoder(list[ServerMessage])
run_frame = msgspec.json.Decoder(list[HolderSays])
holder_frame = msgspec.json.Decoder(list[HolderMessage])
