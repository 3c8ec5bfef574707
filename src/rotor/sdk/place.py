"""Where code runs: in a workflow's body, in the body of a step, or in neither; each asyncio task inherits its place."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

import msgspec

__all__ = ["CurrentStep", "Workflow", "call_outside", "current_step", "idempotency_key", "place"]

T = TypeVar("T")

_KEYS = uuid.UUID("7c1f4c0e-9f39-5e0a-8a53-1d4c2d0b6f11")


class Workflow:
    """Stands for one run's body: what is in this place may call its steps."""


class CurrentStep(msgspec.Struct, frozen=True):
    """The step whose body is running."""

    run_id: str
    id: str
    index: int
    """0 for the first use of the id in the run, then 1, 2 ..."""
    attempt: int
    """0 for the first try, then 1, 2 ..."""

    @property
    def idempotency_key(self) -> str:
        """The same for every try of this step and for no other step: hand it to services that refuse repeats."""
        return idempotency_key(self.run_id, self.id, self.index)


place: ContextVar[Workflow | CurrentStep | None] = ContextVar("rotor_place", default=None)


def call_outside(call: Callable[[T], None], argument: T) -> None:
    """Call it with `argument`. It may schedule call-backs and start tasks: they are not the workflow's."""
    if place.get() is None:
        call(argument)
        return
    token = place.set(None)
    try:
        call(argument)
    finally:
        place.reset(token)


def current_step() -> CurrentStep:
    """The step in whose body this is called, for instance to pass on its idempotency key:

        def charge(amount: int) -> str:
            return payments.charge(amount, idempotency_key=rotor.current_step().idempotency_key)

    Raises `RuntimeError` outside of a step's body.
    """
    here = place.get()
    if not isinstance(here, CurrentStep):
        raise RuntimeError(
            "current_step() was called outside the body of a step: call it in a function given to step.run"
        )
    return here


def idempotency_key(run_id: str, id: str, index: int) -> str:
    """A UUID that names one step of one run for good. The last colon ends the id, whatever the id holds."""
    return str(uuid.uuid5(_KEYS, f"{run_id}:{id}:{index}"))
