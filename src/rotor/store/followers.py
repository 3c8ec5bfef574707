"""Who follows something on this server for as long as it goes on, by a stream or a long request: so many in all, and of
each workspace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from rotor import limits, telemetry
from rotor.store.problems import Overloaded

__all__ = ["Followers"]

TRY_AGAIN_SECONDS = 5.0


class Followers:
    """The places of one server, each with what wakes its follower."""

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Event, int] = {}
        self.ending = False
        """The server stops: whoever follows comes back elsewhere."""

    @property
    def count(self) -> int:
        return len(self._listeners)

    def end(self) -> None:
        """Let nobody follow any more."""
        self.ending = True
        for listener in self._listeners:
            listener.set()

    def admit(self, workspace_id: int) -> None:
        """Raise `Overloaded` where there is no place for one more of the workspace."""
        own = sum(each == workspace_id for each in self._listeners.values())
        if self.ending:
            problem = "this server stops"
        elif self.count >= limits.STREAMS:
            problem = f"{self.count:,} follow something here (STREAMS is {limits.STREAMS:,})"
        elif own >= limits.STREAMS_PER_WORKSPACE:
            problem = (
                f"{own:,} of this workspace follow something here "
                f"(STREAMS_PER_WORKSPACE is {limits.STREAMS_PER_WORKSPACE:,})"
            )
        else:
            return
        raise Overloaded(f"{problem}; try again", retry_after_seconds=TRY_AGAIN_SECONDS)

    @contextmanager
    def following(self, workspace_id: int, listener: asyncio.Event) -> Iterator[None]:
        """Within, somebody of the workspace has a place; `listener` is set when the server stops."""
        self._listeners[listener] = workspace_id
        telemetry.STREAMS.set(self.count)
        try:
            yield
        finally:
            del self._listeners[listener]
            telemetry.STREAMS.set(self.count)
