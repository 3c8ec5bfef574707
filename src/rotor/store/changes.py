"""What has just been committed by this process, told to whoever in it waits for that.

Only a shortcut: everything told here can also be found in the database, and every listener also looks there at its own
pace.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

from rotor.engine.effects import PutWait
from rotor.store.fresh import Accepted, Fresh

__all__ = ["PULSE_SECONDS", "Changes"]

PULSE_SECONDS = 1.0
"""How often each server looks for what nobody has told it of."""


LINGER = 0.004
"""In seconds. Events that have each woken a run by their own commit are looked at so much later, or with the next: it
keeps the look for others that may wait for them out of the way of what these runs do."""


class Changes:
    """Nudges by subject. A nudge without a listener is dropped."""

    def __init__(self) -> None:
        self.queued = asyncio.Event()
        """Some run became due."""
        self.delivered = asyncio.Event()
        """Some events or waits have a look to be done."""
        self.fresh = Fresh()
        """Those of them that need not be read back."""
        self.deadline = asyncio.Event()
        """Some wait has a deadline that is nearer than the timers' next look."""
        self.invokes = True
        """Some function may be served over HTTP: false once the pulse has seen that none is."""
        self.timers_look_at = float("inf")
        """When the timers look next without being told, by the event loop's clock; infinity while they look."""
        self._runs: dict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._ends: dict[UUID, set[asyncio.Event]] = defaultdict(set)

    def accepted(self, accepted: Accepted) -> None:
        """Events were committed."""
        if accepted.queued:
            self.queued.set()
        if accepted.delivery is not None:
            self.fresh.put(accepted.delivery)
            if accepted.taken:
                asyncio.get_running_loop().call_later(LINGER, self._look_at_fresh)
            else:
                self.delivered.set()
        if accepted.elsewhere:
            self.look_elsewhere()

    def parked(self, waits: Sequence[PutWait]) -> None:
        """Waits for events were committed."""
        if waits and self.fresh.has_room:
            self.fresh.put_waits(waits)
            self.delivered.set()
        elif waits:
            self.look_elsewhere()

    def _look_at_fresh(self) -> None:
        if self.fresh:
            self.delivered.set()

    def look_elsewhere(self) -> None:
        """The database has events or waits that have a look to be done."""
        self.fresh.elsewhere = True
        self.delivered.set()

    def deadline_in(self, seconds: float) -> None:
        """A wait was parked whose deadline is that far away."""
        if asyncio.get_running_loop().time() + seconds < self.timers_look_at:
            self.deadline.set()

    def queued_in(self, seconds: float) -> None:
        """Some run will be due so soon; what is further away than a beat of the pulse is left to that."""
        if seconds <= PULSE_SECONDS:
            asyncio.get_running_loop().call_later(seconds, self.queued.set)

    def runs_changed(self, run_ids: Iterable[UUID]) -> None:
        """Wake whoever follows these runs."""
        _wake(self._runs, run_ids)

    def runs_ended(self, run_ids: Iterable[UUID]) -> None:
        """Wake whoever waits for the ends of these runs, which have changed besides."""
        _wake(self._ends, run_ids)

    def listen(self, run_id: UUID, listener: asyncio.Event | None = None, *, end_only: bool = False) -> asyncio.Event:
        """An event that is set at each change of the run, until `unlisten`; `listener` if it is given. With `end_only`
        it is set when the run ends."""
        listener = listener or asyncio.Event()
        (self._ends if end_only else self._runs)[run_id].add(listener)
        return listener

    def unlisten(self, run_id: UUID, listener: asyncio.Event) -> None:
        for listeners in (self._runs, self._ends):
            listeners[run_id].discard(listener)
            if not listeners[run_id]:
                del listeners[run_id]


def _wake(listeners: dict[UUID, set[asyncio.Event]], run_ids: Iterable[UUID]) -> None:
    if listeners:
        for run_id in run_ids:
            for listener in listeners.get(run_id, ()):
                listener.set()
