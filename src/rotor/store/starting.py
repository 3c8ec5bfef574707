"""A new run may start with a worker at once: the statement that creates it writes it as running under that worker's
lease, and after the commit it is handed to the worker. No claim, and no second version of its row.

Which workers have room for it is known from memory (`store/holders.py`), and the statement checks the rest under the
lock of the lease. Where anything speaks against it the run is queued, and claimed in its turn.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple
from uuid import UUID

from rotor.engine.arrivals import HolderLost
from rotor.protocol.messages import Event, StartRun
from rotor.store.changes import Changes
from rotor.store.holders import CHUNK, Function, Holders, Opening

__all__ = ["GiveBack", "Offer", "Starting", "starting"]

GiveBack = Callable[[HolderLost], None]
"""Takes a run from a worker that has left before it heard of it."""


class Offer(NamedTuple):
    """Workers that the new runs of one statement may start with."""

    workers: Sequence[Opening]
    places: Sequence[int]
    """For each run the place of its worker in these, from 1; 0: it has none."""

    @property
    def columns(self) -> tuple[Sequence[object], ...]:
        """As the statement wants it."""
        return (
            [worker.lease_id for worker in self.workers],
            [worker.connection for worker in self.workers],
            self.places,
        )


class Starting:
    """What one commit starts with workers here."""

    def __init__(self, holders: Holders, changes: Changes, give_back: GiveBack, until_done: ExitStack) -> None:
        self._holders = holders
        self._changes = changes
        self._give_back = give_back
        self._until_done = until_done
        self._started: list[tuple[Opening, StartRun]] = []

    def offer(self, functions: Sequence[Function]) -> Offer:
        """Workers for new runs of these functions, in turn; slots for them are reserved.

        There are none while the dispatcher has been told of due runs and has not looked yet: those come first.
        """
        if self._changes.queued.is_set():
            return Offer([], [0] * len(functions))
        turns: dict[Function, deque[Opening]] = {}
        workers: dict[UUID, tuple[int, Opening]] = {}
        given: Counter[UUID] = Counter()
        places = []
        for function in functions:
            if (turn := turns.get(function)) is None:
                turn = turns[function] = deque(self._holders.openings(function))
            worker = _next(turn, given)
            places.append(0 if worker is None else workers.setdefault(worker.lease_id, (len(workers) + 1, worker))[0])
        self._reserve(given)
        return Offer([worker for _, worker in workers.values()], places)

    def _reserve(self, given: Counter[UUID]) -> None:
        if given:
            self._until_done.callback(self._nudge, given.keys())
            self._until_done.enter_context(self._holders.reserve(given))
            self._until_done.enter_context(self._holders.giving(given.keys()))

    def _nudge(self, lease_ids: Collection[UUID]) -> None:
        """The dispatcher may have found no room where slots were reserved in vain."""
        if not self._holders.hungry.isdisjoint(lease_ids):
            self._changes.queued.set()

    def started(self, worker: Opening, run_id: str, function_id: str, event: Event, traceparent: str | None) -> None:
        """The statement has written this run as the worker's."""
        start = StartRun(
            run_id=run_id,
            lease_id=str(worker.lease_id),
            function_id=function_id,
            attempt=0,
            event=event,
            memo=[],
            settled=0,
            traceparent=traceparent,
        )
        self._started.append((worker, start))

    def hand_out(self) -> None:
        """After the commit: the workers are told. Of one that has left the run is given back; where it has come back,
        its welcome does that."""
        for worker, start in self._started:
            run_id = UUID(start.run_id)
            if self._holders.is_on(worker.lease_id, worker.connection):
                self._holders.start(worker.lease_id, run_id, start, quiet=True, now=len(self._started) == 1)
            else:
                lost = HolderLost(run_id, worker.lease_id, unreached_seconds=0, connection=worker.connection)
                self._give_back(lost)


def _next(turn: deque[Opening], given: Counter[UUID]) -> Opening | None:
    """Whose turn it is, of those that have room left: half of theirs, or what is beyond a chunk, is left to others."""
    while turn:
        worker = turn[0]
        if given[worker.lease_id] < min(worker.room, max(worker.room // 2, CHUNK)):
            given[worker.lease_id] += 1
            turn.rotate(-1)
            return worker
        turn.popleft()
    return None


@contextmanager
def starting(holders: Holders, changes: Changes, give_back: GiveBack) -> Iterator[Starting]:
    """Around a commit that may start runs with workers, and their handing out."""
    with ExitStack() as until_done:
        yield Starting(holders, changes, give_back, until_done)
