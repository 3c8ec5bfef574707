"""What can happen to a run: the inputs of decisions."""

from __future__ import annotations

from typing import Final, TypeAlias
from uuid import UUID

import msgspec

from rotor.engine.run import StepKey
from rotor.protocol.messages import RunMessage, RunStatus

__all__ = [
    "SETTLEMENTS",
    "Arrival",
    "Cancelled",
    "ChildEnded",
    "DeadlineReached",
    "EventArrived",
    "FromHolder",
    "HolderLost",
    "Settlement",
    "SignalArrived",
]


class FromHolder(msgspec.Struct, frozen=True, gc=False):
    """A message of the one who holds the run (or no longer does)."""

    run_id: UUID
    workspace_id: int
    lease_id: UUID
    message: RunMessage
    fresh_id: UUID
    """The id of what the message starts or sends, if it does."""
    can_go_on: bool = True
    """The holder is still there to go on with a run that could not be parked."""
    told: int | None = None
    """Of how many settled waits the holder knows, as it says; None: the server that it is connected to knows."""
    connection: int | None = None
    """The number of the worker's connection that it came by; None: it came from a serve app."""


class _OfStep(msgspec.Struct, frozen=True, gc=False):
    """Something comes to a parked step."""

    key: StepKey

    @property
    def run_id(self) -> UUID:
        return self.key.run_id


class DeadlineReached(_OfStep, frozen=True, gc=False):
    """The deadline of a parked step has come."""


class EventArrived(_OfStep, frozen=True, gc=False):
    """An event that a parked step waits for."""

    event_id: str
    event: bytes
    """The event as JSON, as its workflow sees it."""
    workspace_id: int


class SignalArrived(_OfStep, frozen=True, gc=False):
    """A signal that a parked step waits for was completed."""

    signal_id: str


class ChildEnded(_OfStep, frozen=True, gc=False):
    """The child that a parked step started has ended."""

    child_run_id: UUID
    status: RunStatus
    output: bytes | None
    error: bytes | None


class HolderLost(msgspec.Struct, frozen=True, gc=False):
    """The holder's lease ran out, or its connection is gone for good; or it could not be reached at all."""

    run_id: UUID
    lease_id: UUID
    unreached_seconds: float | None = None
    """The holder never began: try again after so long, and count no loss."""
    company: int = 0
    """How many other runs were lost with it: any of them may be to blame."""
    connection: int | None = None
    """The number of the connection as whose beginning the worker no longer had it; None: the lease itself is over."""


class Cancelled(msgspec.Struct, frozen=True, gc=False):
    """Someone asked for the run to be cancelled."""

    run_id: UUID


Settlement: TypeAlias = DeadlineReached | EventArrived | SignalArrived | ChildEnded
SETTLEMENTS: Final = (DeadlineReached, EventArrived, SignalArrived, ChildEnded)
Arrival: TypeAlias = FromHolder | Settlement | HolderLost | Cancelled
