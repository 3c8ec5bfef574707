"""The spans of one run in this process: one for each stay, below it one for each try of a step, and for what it sends.

A stay lasts from the run's start, or from its resumption, until it parks or ends: a span cannot be open while nobody
holds the run. All stays of a run are below its event, wherever they take place.
"""

from __future__ import annotations

from rotor import tracing
from rotor.protocol.messages import StartRun
from rotor.sdk.place import CurrentStep

__all__ = ["RunSpans"]


class RunSpans:
    """Where there is no tracing each of these does nothing."""

    def __init__(self, start: StartRun) -> None:
        self._parent = start.traceparent
        self._run_id = start.run_id
        self._function_id = start.function_id
        self._event_id = start.event.id
        self._stay: tracing.Span = None

    def begin(self) -> None:
        """The run is here, if it was not already."""
        if self._stay is None and tracing.active():
            self._stay = tracing.start(f"run {self._function_id}", "consumer", self._parent, self._about)

    def end(self, how: str, error_name: str | None = None) -> None:
        """The run leaves: it is parked, or `how` it ended."""
        if self._stay is not None:
            self._stay.set_attribute("rotor.stay", how)
            if error_name is not None:
                tracing.fail(self._stay, error_name)
            self._stay.end()
            self._stay = None

    def of_try(self, step: CurrentStep) -> tracing.Span:
        """A span for one try of a step's body."""
        if not tracing.active():
            return None
        return self._of_step(step.id, step.index, "internal", {"attempt": step.attempt})

    def of_sending(self, id: str, index: int) -> str | None:
        """A span for an event or a child that a step sends away, and its traceparent, from which that goes on."""
        span = self._of_step(id, index, "producer", {})
        if span is not None:
            span.end()
        return tracing.traceparent_of(span)

    def _of_step(self, id: str, index: int, kind: tracing.Kind, more: dict[str, int]) -> tracing.Span:
        if not tracing.active():
            return None
        parent = tracing.traceparent_of(self._stay) or self._parent
        about: dict[str, str | int] = {**self._about, "step_id": id, "step_index": index, **more}
        return tracing.start(f"step {id}", kind, parent, about)

    @property
    def _about(self) -> dict[str, str | int]:
        return {"run_id": self._run_id, "function_id": self._function_id, "event_id": self._event_id}
