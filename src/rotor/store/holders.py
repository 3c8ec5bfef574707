"""Who holds runs at this server: by lease, how to tell them of commits, and how much each run's holder has been told.

What is told here is a shortcut for those connected to this process; a holder elsewhere learns the same at its next
message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from rotor.protocol.messages import HolderMessage, Settled, StartRun

__all__ = ["Holders"]

Deliver = Callable[[Sequence[HolderMessage]], None]


class Holders:
    """The holders connected to this server."""

    def __init__(self) -> None:
        self._deliver: dict[UUID, Deliver] = {}
        self._told: dict[UUID, dict[str, int]] = {}
        self.hungry: set[UUID] = set()
        """Holders that would take more runs than they had room for."""

    def add(self, lease_id: UUID, deliver: Deliver) -> None:
        """`deliver` is called with messages for the holder; it must neither block nor raise."""
        self._deliver[lease_id] = deliver
        self._told[lease_id] = {}

    def remove(self, lease_id: UUID) -> None:
        self._deliver.pop(lease_id, None)
        self._told.pop(lease_id, None)
        self.hungry.discard(lease_id)

    def __contains__(self, lease_id: UUID) -> bool:
        return lease_id in self._deliver

    def told(self, lease_id: UUID, run_id: UUID) -> int | None:
        """How many settled waits of the run its holder knows of; None where it is not connected here."""
        return self._told.get(lease_id, {}).get(str(run_id))

    def deliver(self, lease_id: UUID, messages: Sequence[HolderMessage]) -> None:
        """Tell a holder, if it is connected here."""
        deliver = self._deliver.get(lease_id)
        if deliver is None:
            return
        told = self._told[lease_id]
        for message in messages:
            if isinstance(message, StartRun | Settled):
                told[message.run_id] = message.settled
        deliver(messages)

    def forget(self, lease_id: UUID, run_id: UUID) -> bool:
        """The holder has let the run go; return whether it has room for one that waits."""
        told = self._told.get(lease_id)
        if told is not None:
            told.pop(str(run_id), None)
        return lease_id in self.hungry

    def expect(self, lease_id: UUID, run_id: UUID) -> None:
        """The holder came back with this run; what it has been told of it is not known."""
        self._told[lease_id][str(run_id)] = -1

    def held_by(self, lease_id: UUID) -> int:
        """How many runs a holder has."""
        return len(self._told.get(lease_id, ()))

    def held(self) -> list[tuple[UUID, str, int]]:
        """(lease, run, told) of every run held here."""
        return [(lease, run, told) for lease, runs in self._told.items() for run, told in runs.items()]
