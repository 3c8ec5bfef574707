"""Hands due runs to the workers connected to this server, and invokes those that are served over HTTP."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from rotor import limits
from rotor.engine.arrivals import HolderLost
from rotor.protocol.messages import Error, ResumeRun, RunFailed, StartRun
from rotor.services.invoker import Invoker
from rotor.services.loop import Loop
from rotor.services.workers import WorkerConnection, Workers
from rotor.store.claims import ClaimedRun, claim_invocations, claim_runs
from rotor.store.committer import Exchange
from rotor.store.holders import CHUNK
from rotor.store.store import Store

__all__ = ["Dispatcher"]

CHUNK_MAX = 250
"""Runs given at most at a time, to a worker that has been given many in a row: one claim of 250 is cheaper than 5."""
PART = 4
"""A quarter of what a worker has been given in a row is given next, so that several still have about as many each."""


class Dispatcher(Loop):
    """Woken by commits that leave runs due, by workers that connect or have slots again, and by the pulse."""

    def __init__(self, store: Store, workers: Workers, invoker: Invoker) -> None:
        super().__init__("dispatcher", self._dispatch, store.changes.queued)
        self._store = store
        self._workers = workers
        self._invoker = invoker

    async def _dispatch(self) -> float | None:
        if not self._store.changes.invokes:
            return 0 if await self._claim() else None
        # Side by side, and each to its end: what is claimed has to be handed out.
        claimed, invoked = await asyncio.gather(self._claim(), self._invoke(), return_exceptions=True)
        for outcome in (claimed, invoked):
            if isinstance(outcome, BaseException):
                raise outcome
        return 0 if claimed or invoked else None

    async def _claim(self) -> bool:
        """Whether there may be more for the workers now. The least loaded first; who got a full chunk has its next turn
        after the others."""
        more = False
        for connection in sorted(self._workers.connections.values(), key=lambda each: -each.free_slots):
            more |= await self._claim_for(connection)
        return more

    async def _claim_for(self, connection: WorkerConnection) -> bool:
        """Whether there may be more for it now."""
        lease_id, hungry = connection.lease_id, self._store.holders.hungry
        if lease_id not in self._store.holders:  # it has left meanwhile
            return False
        with self._store.holders.reserve({lease_id: _chunk(connection.in_a_row)}) as room:
            count = room.get(lease_id, 0)
            if not count or not connection.function_ids:
                hungry.add(lease_id)
                return False
            claimed = await claim_runs(
                self._store.database,
                self._store.holders,
                workspace_id=connection.workspace_id,
                lease_id=lease_id,
                connection=connection.number,
                function_ids=connection.function_ids,
                count=count,
            )
            await self._hand_out(connection, claimed)
        # Who had the most comes last the next time: a function with little to do never waits for one with much.
        had = Counter(run.function_id for run in claimed)
        connection.function_ids.sort(key=had.__getitem__)
        many_more = len(claimed) == count and _weight(claimed) <= limits.BATCH_BYTES // PART
        connection.in_a_row = connection.in_a_row + count if many_more else 0
        if len(claimed) < count:
            hungry.discard(lease_id)
            return False
        if lease_id in self._store.holders:  # it may have left meanwhile
            hungry.add(lease_id)
        return connection.free_slots > 0

    async def _hand_out(self, connection: WorkerConnection, claimed: Sequence[ClaimedRun]) -> None:
        undelivered = []
        for run in claimed:
            if oversized(run.start):
                await self._fail(connection.workspace_id, connection.lease_id, run.start, connection=connection.number)
            elif self._workers.connections.get(connection.lease_id) is connection:
                self._store.holders.start(
                    connection.lease_id, run.run_id, run.start, quiet=run.quiet, now=len(claimed) == 1
                )
            else:
                undelivered.append(run.run_id)
        if undelivered:
            await self._give_back(undelivered, connection)

    async def _give_back(self, run_ids: Sequence[UUID], connection: WorkerConnection) -> None:
        """Runs that came too late for a connection, which are no loss. Those of a worker that has come back its welcome
        gives back."""
        await self._store.committer.submit_all(
            [
                HolderLost(run_id, connection.lease_id, unreached_seconds=0, connection=connection.number)
                for run_id in run_ids
            ]
        )

    async def _invoke(self) -> bool:
        openings = self._invoker.openings()
        if not openings.runs:
            return False
        claimed = await claim_invocations(
            self._store.database, count=openings.runs, not_of=openings.not_of, not_for=openings.not_for
        )
        for invocation in claimed:
            if oversized(invocation.start):
                await self._fail(invocation.workspace_id, invocation.lease_id, invocation.start)
            else:
                self._invoker.start(invocation)
        return len(claimed) == openings.runs

    async def _fail(
        self, workspace_id: int, lease_id: UUID, start: StartRun | ResumeRun, *, connection: int | None = None
    ) -> None:
        """End a run that no holder could take, claimed for this connection of a worker or for an invocation."""
        text = (
            f"its steps have recorded more than {limits.MEMO_BYTES:,} bytes (MEMO_BYTES): keep large results elsewhere"
        )
        failed = RunFailed(
            run_id=start.run_id, n=0, error=Error(name="LimitError", message=text), retries=0, retriable=False
        )
        await self._store.committer.commits.room()
        said = Exchange(workspace_id, lease_id, [failed], connection=connection)
        await self._store.committer.exchange([said])


def _chunk(in_a_row: int) -> int:
    """How many runs a worker is given at a time that has been given so many in a row."""
    return max(CHUNK, min(in_a_row // PART, CHUNK_MAX))


def _weight(claimed: Sequence[ClaimedRun]) -> int:
    """How many bytes their payloads have."""
    events = (run.start.event.data for run in claimed if isinstance(run.start, StartRun))
    return sum(_memo_bytes(run.start) for run in claimed) + sum(len(memoryview(data)) for data in events)


def _memo_bytes(start: StartRun | ResumeRun) -> int:
    return sum(len(memoryview(memo.output)) for memo in start.memo)


def oversized(start: StartRun | ResumeRun) -> bool:
    """Whether the memo is over its limit."""
    return _memo_bytes(start) > limits.MEMO_BYTES
