"""Who holds runs at this server: by lease, how to tell them of commits, and how much each run's holder has been told.

What is told here is a shortcut for those connected to this process; a holder elsewhere learns the same at its next
message. So does the app of an invocation over HTTP, which was posted from here but may post its checkpoints to any
server: the numbers of its messages tell whether this one has seen them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from rotor.protocol.messages import HolderMessage, Settled, StartRun

__all__ = ["UNKNOWN", "Holders"]

UNKNOWN: Final = -1
"""Stands for what a holder that has come back was told before."""

Deliver = Callable[[Sequence[HolderMessage]], None]


class _Held:
    """One run, as far as its holder has been told of it."""

    __slots__ = ("heard", "quiet", "run_id", "told")

    def __init__(self, run_id: UUID, told: int, *, quiet: bool) -> None:
        self.run_id = run_id
        self.told = told
        """How many of its settled waits the holder knows of, or `UNKNOWN`."""
        self.heard = 0
        """The number of the last message of an invocation."""
        self.quiet = quiet
        """It has no open wait and no counted loss, so nobody but its holder has anything to do with it."""


class _Holder:
    """One lease's holder."""

    __slots__ = ("deliver", "runs")

    def __init__(self, deliver: Deliver | None) -> None:
        self.deliver = deliver
        self.runs: dict[str, _Held] = {}


class Holders:
    """The holders connected to this server."""

    def __init__(self) -> None:
        self._holders: dict[UUID, _Holder] = {}
        self.hungry: set[UUID] = set()
        """Holders that would take more runs than they had room for."""

    def add(self, lease_id: UUID, deliver: Deliver | None) -> None:
        """`deliver` is called with messages for the holder; it must neither block nor raise. None: an invocation, which
        hears in the answers to what it says."""
        self._holders[lease_id] = _Holder(deliver)

    def remove(self, lease_id: UUID) -> None:
        self._holders.pop(lease_id, None)
        self.hungry.discard(lease_id)

    def __contains__(self, lease_id: UUID) -> bool:
        return lease_id in self._holders

    def run_id(self, lease_id: UUID, run_id: str) -> UUID:
        """The id of a run as a value: known already for a run held here."""
        held = self._held(lease_id, run_id)
        return UUID(run_id) if held is None else held.run_id

    def is_quiet(self, lease_id: UUID, run_id: str) -> bool:
        """Whether the run is held here and nobody but its holder has anything to do with it."""
        held = self._held(lease_id, run_id)
        return held is not None and held.quiet

    def disturb(self, lease_id: UUID, run_id: str) -> None:
        """The holder opens a wait: from now on others may have to do with the run."""
        held = self._held(lease_id, run_id)
        if held is not None:
            held.quiet = False

    def hear(self, lease_id: UUID, run_id: str, n: int) -> None:
        """A message of this number comes in. Where an invocation's are not in a row, another server has taken some."""
        holder = self._holders.get(lease_id)
        held = None if holder is None or holder.deliver is not None else holder.runs.get(run_id)
        if held is not None and n:
            held.quiet = held.quiet and n == held.heard + 1
            held.heard = n

    def told(self, lease_id: UUID, run_id: UUID) -> int | None:
        """How many settled waits of the run its holder knows of; None where it is not connected here."""
        holder = self._holders.get(lease_id)
        held = None if holder is None or holder.deliver is None else holder.runs.get(str(run_id))
        return None if held is None else held.told

    def start(self, lease_id: UUID, run_id: UUID, start: StartRun, *, quiet: bool) -> None:
        """Hand a run to a holder, if it is connected here."""
        holder = self._holders.get(lease_id)
        if holder is not None:
            holder.runs[start.run_id] = _Held(run_id, start.settled, quiet=quiet)
            if holder.deliver is not None:
                holder.deliver([start])

    def deliver(self, lease_id: UUID, messages: Sequence[HolderMessage]) -> None:
        """Tell a holder, if it is connected here."""
        holder = self._holders.get(lease_id)
        if holder is None or holder.deliver is None:
            return
        for message in messages:
            if isinstance(message, Settled) and (held := holder.runs.get(message.run_id)) is not None:
                held.told = message.settled
        holder.deliver(messages)

    def forget(self, lease_id: UUID, run_id: UUID) -> bool:
        """The holder has let the run go; return whether it has room for one that waits."""
        holder = self._holders.get(lease_id)
        if holder is not None:
            holder.runs.pop(str(run_id), None)
        return lease_id in self.hungry

    def expect(self, lease_id: UUID, run_id: UUID) -> None:
        """The holder came back with this run; what it has been told of it is not known."""
        self._holders[lease_id].runs[str(run_id)] = _Held(run_id, UNKNOWN, quiet=False)

    def held_by(self, lease_id: UUID) -> int:
        """How many runs a holder has."""
        holder = self._holders.get(lease_id)
        return 0 if holder is None else len(holder.runs)

    def held(self) -> list[tuple[UUID, UUID, int]]:
        """(lease, run, told) of every run held by one who is connected here."""
        return [
            (lease_id, held.run_id, held.told)
            for lease_id, holder in self._holders.items()
            if holder.deliver is not None
            for held in holder.runs.values()
        ]

    def _held(self, lease_id: UUID, run_id: str) -> _Held | None:
        holder = self._holders.get(lease_id)
        return None if holder is None else holder.runs.get(run_id)
