"""What a decision knows: one run, its steps, its waits and what it touches, as they stand under the run's row lock."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from rotor.engine.states import RUN_ENDED
from rotor.protocol.messages import RunStatus, StepOp, StepStatus

__all__ = ["Known", "Run", "Signal", "Step", "StepKey", "Wait"]


class StepKey(NamedTuple):
    """A step's name: its run, its id, and which use of the id it is."""

    run_id: UUID
    id: str
    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody calls on a key


class Run(msgspec.Struct, frozen=True, gc=False):
    """A run's row, as far as decisions read or change it."""

    id: UUID
    workspace_id: int
    function_id: str
    status: RunStatus
    created_at: datetime
    lease_id: UUID | None = None
    attempt: int = 0
    settled: int = 0
    losses: int = 0
    depth: int = 0
    cancelling: bool = False
    parent: StepKey | None = None
    due_seconds: float | None = None
    """Of a queued run: how long from now until it may be claimed."""
    output: bytes | None = None
    error: bytes | None = None
    kept_by: UUID | None = None
    """Of a run that nobody holds: the lease of the one who parked it last and keeps its body."""
    connection: int | None = None
    """The number of its worker's connection, under the lock of the lease; None: not asked for, or the lease is over."""
    keeper: int | None = None
    """Of a waiting run: the number of the connection of who keeps its body, under the lock of that lease, where runs of
    the function may go on with workers; None: not asked for, or they may not."""

    @property
    def ended(self) -> bool:
        return self.status in RUN_ENDED

    def queued(self, *, seconds: float = 0, **changes: object) -> Run:
        return msgspec.structs.replace(self, status="queued", lease_id=None, due_seconds=seconds, **changes)


class Step(msgspec.Struct, frozen=True, gc=False):
    """A step's row, as far as decisions read it."""

    op: StepOp
    status: StepStatus
    attempts: int
    child_run_id: UUID | None = None
    group: int = 0
    """The commit that last changed it; 0: this one."""


class Wait(msgspec.Struct, frozen=True, gc=False):
    """A parked step: what it waits for. `topic` is None for a sleep and for a step between two tries."""

    topic: str | None
    due: bool = False
    """Its deadline has come."""


class Signal(msgspec.Struct, frozen=True, gc=False):
    """A signal's row: its waiter and its data, in whichever order they came."""

    waiter: StepKey | None
    data: bytes | None
    delivered: bool
    expired: bool


class Known(msgspec.Struct, frozen=True):
    """What a batch of decisions may look at besides the run itself."""

    steps: dict[StepKey, Step] = msgspec.field(default_factory=dict)
    waits: dict[StepKey, Wait] = msgspec.field(default_factory=dict)
    signals: dict[tuple[int, str], Signal] = msgspec.field(default_factory=dict)
    functions: frozenset[tuple[int, str]] = frozenset()
    taken: set[tuple[UUID, str]] = msgspec.field(default_factory=set)
    """(run, event) pairs: the events that waits of the run have taken."""
    parked: Counter[UUID] = msgspec.field(default_factory=Counter)
    """How many waits each run has that is about to park, or that somebody here holds or may go on with."""
    settled: set[UUID] = msgspec.field(default_factory=set)
    """Runs about to end of which no step is open, and which have no waits."""
    resumable: frozenset[UUID] = frozenset()
    """Waiting runs that may go on at once with whoever keeps their bodies, as far as that has room."""
    room: Counter[UUID] = msgspec.field(default_factory=Counter)
    """How many runs each of those can be given, by lease."""
