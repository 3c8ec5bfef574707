"""What a handler is given: the event that started the run, its steps, and who it is."""

from __future__ import annotations

import sys
from typing import Any, Generic

from rotor.sdk.logger import RunLogger
from rotor.sdk.outcomes import Event
from rotor.sdk.steps import Step
from rotor.sdk.sync_steps import SyncStep

if sys.version_info >= (3, 13):
    from typing import TypeVar
else:
    from typing_extensions import TypeVar

__all__ = ["Context", "SyncContext"]

T_co = TypeVar("T_co", covariant=True, default=Any)
"""The event's data. A bare `Context` takes whatever comes."""


class _Run(Generic[T_co]):
    """What both kinds of context have."""

    def __init__(self, event: Event[T_co], run_id: str, function_id: str, attempt: int, logger: RunLogger) -> None:
        self.event = event
        """What started the run: `id`, `name`, `data`, `ts`."""
        self.run_id = run_id
        self.function_id = function_id
        self.attempt = attempt
        """How often the body has failed before: 0 for the first try."""
        self.logger = logger
        """Its lines are shown with the run. Silent while the run is replayed, so that each is written once."""


class Context(_Run[T_co]):
    """What an `async def` handler is given. `T` of `Context[T]` is what the event's data is validated into."""

    def __init__(
        self, event: Event[T_co], step: Step, *, run_id: str, function_id: str, attempt: int, logger: RunLogger
    ) -> None:
        super().__init__(event, run_id, function_id, attempt, logger)
        self.step = step
        """The durable steps, to be awaited."""


class SyncContext(_Run[T_co]):
    """What a plain `def` handler is given. `T` of `SyncContext[T]` is what the event's data is validated into."""

    def __init__(
        self, event: Event[T_co], step: SyncStep, *, run_id: str, function_id: str, attempt: int, logger: RunLogger
    ) -> None:
        super().__init__(event, run_id, function_id, attempt, logger)
        self.step = step
        """The durable steps, which block."""
