"""Leases: who may write for a run, kept alive by their holders' heartbeats, given up when those stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from rotor import limits
from rotor.engine.arrivals import HolderLost
from rotor.protocol.messages import Hello
from rotor.store.database import Database

__all__ = [
    "begin_invocation",
    "delete_taken",
    "end_invocations",
    "extend",
    "give_back",
    "has_begun",
    "held_runs",
    "lost_runs",
    "open_lease",
    "resume",
    "shorten",
    "take_expired",
]


async def open_lease(database: Database, workspace_id: int, hello: Hello) -> UUID:
    """A new lease for a worker that connects."""
    lease_id = uuid7()
    manifest = hello.manifest
    await database.of(workspace_id).execute(
        "insert_lease", lease_id, hello.worker, manifest.app, manifest.version, hello.slots, limits.LEASE
    )
    return lease_id


async def resume(database: Database, workspace_id: int, lease_id: UUID) -> int | None:
    """A worker comes back on its lease: the number of its connection (1 was the first), or None: it has been taken."""
    number: int | None = await database.of(workspace_id).fetchval("resume_lease", lease_id, limits.LEASE)
    return number


async def extend(database: Database, alive: Mapping[UUID, int | None]) -> set[UUID]:
    """Keep these leases alive, each with the number of its worker's connection (None: an invocation); return those that
    are. One that ran out and was taken is not revived, nor one kept whose worker is connected elsewhere."""
    kept = await database.fetch("extend_leases", list(alive), list(alive.values()), limits.LEASE)
    return {row["id"] for row in kept}


async def shorten(database: Database, lease_id: UUID, left: timedelta, *, connection: int) -> None:
    """The holder's connection of this number is gone: it has `left` to come back, if it has not done so already."""
    await database.execute("shorten_lease", lease_id, connection, left)


async def begin_invocation(database: Database, workspace_id: int, lease_id: UUID) -> None:
    """The app that holds the lease says that it begins."""
    await database.of(workspace_id).execute("begin_invocation", lease_id)


async def has_begun(database: Database, lease_id: UUID) -> bool:
    """Whether the app of an invocation has said that it begins."""
    return bool(await database.fetchval("read_invocation_begun", lease_id))


async def held_runs(database: Database, lease_id: UUID) -> dict[UUID, int]:
    """The runs that a lease holds, each with its count of settled waits."""
    return {row["id"]: row["settled"] for row in await database.fetch("read_held_runs", lease_id)}


async def take_expired(database: Database, as_of: datetime) -> None:
    """From now on nobody keeps the leases that had run out at `as_of`, by the database's clock."""
    await database.execute("take_leases", as_of)


async def lost_runs(database: Database) -> list[HolderLost]:
    """Up to a batch of runs whose holder's lease was taken.

    That of an invocation runs out because the server that kept it is gone, which is no loss that a run is to blame for:
    an app that dies breaks its connection.
    """
    return [
        HolderLost(
            row["id"],
            row["lease_id"],
            company=row["company"],
            unreached_seconds=0 if row["kind"] == "invocation" else None,
        )
        for row in await database.fetch("read_lost_runs", limits.BATCH)
    ]


async def give_back(database: Database, lease_id: UUID, *, connection: int) -> None:
    """The holder has left for good by this connection: its lease ends, unless it holds something after all.

    A claim for it may be in flight. It is waited for, and what it claimed is seen; a later one finds no lease.
    """
    async with database.transaction() as transaction:
        if await transaction.fetchval("lock_lease", lease_id, connection):
            await transaction.execute("delete_leases", [lease_id])


async def end_invocations(database: Database, lease_ids: Sequence[UUID]) -> None:
    """Give back the leases of invocations that hold their runs no more. Nothing else is claimed under them."""
    await database.execute("delete_leases", list(lease_ids))


async def delete_taken(database: Database) -> None:
    """Forget the leases that were taken and hold nothing any more."""
    await database.execute("delete_leases", None)
