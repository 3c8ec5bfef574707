"""What a decision wants written: frozen values, closed under `Effect`; the store's committer alone writes them."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias
from uuid import UUID

import msgspec

from rotor.engine.matching import Match
from rotor.engine.run import StepKey
from rotor.protocol.messages import StepOp, StepStatus

__all__ = [
    "CancelChildren",
    "CancelRun",
    "DropWait",
    "Effect",
    "Emit",
    "PutSignal",
    "PutStep",
    "PutWait",
    "ReleaseSignal",
    "StartChild",
]


class PutStep(msgspec.Struct, frozen=True, gc=False):
    """Write a step's row; one that has ended never changes again."""

    key: StepKey
    op: StepOp
    status: StepStatus
    attempts: int = 0
    output: bytes | None = None
    error: bytes | None = None
    child_run_id: UUID | None = None
    event_id: str | None = None
    waits_for: str | None = None
    seconds: float | None = None
    until: datetime | None = None
    elapsed_ms: int = 0


class PutWait(msgspec.Struct, frozen=True, gc=False):
    """Park a step until the first of a deadline (`seconds` from now, or `until`) and a message on `topic`."""

    key: StepKey
    workspace_id: int
    topic: str | None = None
    seconds: float | None = None
    until: datetime | None = None
    match: Match | None = None
    since: datetime | None = None
    """Of an event: how far back to look; None: not at all."""


class DropWait(msgspec.Struct, frozen=True, gc=False):
    """A parked step has come to its end."""

    key: StepKey


class StartChild(msgspec.Struct, frozen=True, gc=False):
    """Start the run that a step invokes."""

    run_id: UUID
    parent: StepKey
    workspace_id: int
    function_id: str
    data: bytes
    depth: int
    traceparent: str | None = None


class Emit(msgspec.Struct, frozen=True, gc=False):
    """Accept an event that a step sends."""

    workspace_id: int
    event_id: str
    name: str
    data: bytes
    ts: datetime | None
    traceparent: str | None = None


class PutSignal(msgspec.Struct, frozen=True, gc=False):
    """A step waits for a signal id, or takes data that came early (`delivered`)."""

    workspace_id: int
    signal_id: str
    waiter: StepKey
    delivered: bool


class ReleaseSignal(msgspec.Struct, frozen=True, gc=False):
    """Nobody waits for a signal id any more."""

    workspace_id: int
    signal_id: str


class CancelChildren(msgspec.Struct, frozen=True, gc=False):
    """The open children of a run are to be cancelled."""

    run_id: UUID


class CancelRun(msgspec.Struct, frozen=True, gc=False):
    """One child run is to be cancelled."""

    run_id: UUID


Effect: TypeAlias = (
    PutStep | PutWait | DropWait | StartChild | Emit | PutSignal | ReleaseSignal | CancelChildren | CancelRun
)
