"""Due runs are claimed for a holder, with all that it needs to go on."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from dataclasses import dataclass
from uuid import UUID

from rotor import limits
from rotor.protocol.json import Raw
from rotor.protocol.messages import Event, Memo, ResumeRun, StartRun
from rotor.store.database import Connection, Database, Record
from rotor.store.holders import Holders
from rotor.store.steps import memo_of_row

__all__ = ["ClaimedInvocation", "ClaimedRun", "claim_invocations", "claim_runs"]


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run for a worker."""

    run_id: UUID
    function_id: str
    start: StartRun | ResumeRun
    """The whole run, or what is new to a holder that keeps its body."""
    quiet: bool
    """It has no open wait and no counted loss (`rotor.store.progress`)."""


@dataclass(frozen=True, slots=True)
class ClaimedInvocation:
    """A run to be invoked over HTTP, under a lease of its own."""

    workspace_id: int
    serve_url: str
    lease_id: UUID
    run_id: UUID
    start: StartRun
    quiet: bool
    """As of a `ClaimedRun`."""


async def claim_runs(
    database: Database,
    holders: Holders,
    *,
    workspace_id: int,
    lease_id: UUID,
    connection: int,
    function_ids: Sequence[str],
    count: int,
) -> list[ClaimedRun]:
    """Claim up to `count` due runs of these functions for the holder of a lease, oldest first for each function.

    `connection` is the number of the holder's connection: none is claimed once it has come back on another. Of a run
    whose body it keeps, as far as `holders` know, only what is new is read.
    """
    with ExitStack() as stack:
        async with database.transaction() as transaction:
            rows = await transaction.of(workspace_id).fetch(
                "claim_runs", lease_id, list(function_ids), count, connection, limits.VERSIONS_PER_RUN
            )
            if not rows:
                return []
            kept = {row["id"] for row in rows if row["was_kept_by"] == lease_id and holders.keeps(lease_id, row["id"])}
            memos = await _memos(transaction, rows, kept)
            stack.enter_context(holders.giving([lease_id]))
    return [_claimed(row, lease_id, memos.get(row["id"], []), kept=row["id"] in kept) for row in rows]


def _claimed(row: Record, lease_id: UUID, memo: list[Memo], *, kept: bool) -> ClaimedRun:
    # Of a body that is kept only the changes are read: other waits may be open.
    quiet = not kept and _is_quiet(row, memo)
    start = ResumeRun(run_id=str(row["id"]), memo=memo, settled=row["settled"]) if kept else _start(row, lease_id, memo)
    return ClaimedRun(row["id"], row["function_id"], start, quiet)


def _is_quiet(row: Record, memo: Sequence[Memo]) -> bool:
    return not row["losses"] and all(one.status != "waiting" for one in memo)


async def claim_invocations(
    database: Database,
    *,
    count: int,
    not_of: Sequence[int] = (),
    not_for: Sequence[tuple[int, str]] = (),
) -> list[ClaimedInvocation]:
    """Claim up to `count` due runs of functions served over HTTP: `not_of` these workspaces, `not_for` these functions,
    each with its workspace."""
    async with database.transaction() as connection:
        rows = await connection.fetch(
            "claim_invocations",
            count,
            limits.LEASE,
            limits.VERSIONS_PER_RUN,
            not_of,
            [workspace_id for workspace_id, _ in not_for],
            [function_id for _, function_id in not_for],
        )
        if not rows:
            return []
        memos = await _memos(connection, rows, frozenset())
    return [_invocation(row, memos.get(row["id"], [])) for row in rows]


def _invocation(row: Record, memo: list[Memo]) -> ClaimedInvocation:
    start = _start(row, row["lease_id"], memo)
    return ClaimedInvocation(
        row["workspace_id"], row["serve_url"], row["lease_id"], row["id"], start, _is_quiet(row, memo)
    )


async def _memos(connection: Connection, rows: Sequence[Record], kept: AbstractSet[UUID]) -> dict[UUID, list[Memo]]:
    """What is recorded of each run: all of it, or of one whose body is `kept` what is new since it parked."""
    started = [row for row in rows if not row["fresh"]]
    if not started:
        return {}
    after = [row["kept_group"] if row["id"] in kept else 0 for row in started]
    memos: dict[UUID, list[Memo]] = {}
    for row in await connection.fetch("read_memos", [row["id"] for row in started], after):
        memos.setdefault(row["run_id"], []).append(memo_of_row(row))
    return memos


def _start(row: Record, lease_id: UUID, memo: list[Memo]) -> StartRun:
    event = Event(id=row["event_id"], name=row["event_name"], data=Raw(row["event_data"]), ts=row["event_ts"])
    return StartRun(
        run_id=str(row["id"]),
        lease_id=str(lease_id),
        function_id=row["function_id"],
        attempt=row["attempt"],
        event=event,
        memo=memo,
        settled=row["settled"],
        traceparent=row["traceparent"],
    )
