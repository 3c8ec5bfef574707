"""The short way to the database for nearly all that holders send: one statement a batch, with nothing to read first.

A run is *quiet* while nobody but its holder has anything to do with it: it has no open wait that another could settle,
and no loss that progress would have to forget. The result of a step of a quiet run, and its end, have one outcome if
the lease stands and nobody has asked for cancellation. Postgres checks that as it writes; what does not stand goes the
long way (`rotor.store.committer`), where a result that was written already is left as it is.

A quiet run's row is not locked. What keeps others from writing under its holder is the row of the lease: they mark it
as taken before they take its runs, and it is held here up to the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from rotor.engine.arrivals import Arrival, FromHolder, run_of
from rotor.protocol.messages import RunCompleted, StepDone
from rotor.store.database import Database
from rotor.store.holders import Holders

__all__ = ["Progress", "divide", "write_progress"]


class Progress(NamedTuple):
    """What came of a batch that went the short way."""

    group: int
    """The number of the commit."""
    ended: frozenset[UUID]
    """The runs that came to their end."""
    done: list[FromHolder]
    left: list[FromHolder]
    """What has to go the long way after all."""


def divide(arrivals: Sequence[Arrival], holders: Holders) -> tuple[list[FromHolder], list[Arrival]]:
    """What of a batch goes the short way, and the rest: all that comes of one run stays together, in its order."""
    fits = [_fits(arrival, holders) for arrival in arrivals]
    apart = {run_of(arrival) for arrival, fit in zip(arrivals, fits, strict=True) if not fit}
    if not apart:
        return list(arrivals), []  # type: ignore[arg-type]
    short = [one for one, fit in zip(arrivals, fits, strict=True) if fit and run_of(one) not in apart]
    return short, [arrival for arrival in arrivals if run_of(arrival) in apart]  # type: ignore[return-value]


def _fits(arrival: Arrival, holders: Holders) -> bool:
    if type(arrival) is not FromHolder:
        return False
    message = arrival.message
    kind = type(message)
    if (kind is StepDone and message.op == "run") or kind is RunCompleted:  # type: ignore[union-attr]
        return holders.is_quiet(arrival.lease_id, message.run_id)
    return False


async def write_progress(database: Database, arrivals: Sequence[FromHolder]) -> Progress:
    """Write results and ends of quiet runs, in one statement that is its own transaction."""
    connections: dict[tuple[UUID, int | None], int] = {}
    results: dict[tuple[str, str, int], tuple[StepDone, int]] = {}
    ends: dict[str, tuple[RunCompleted, int]] = {}
    workspaces: dict[str, int] = {}
    for arrival in arrivals:
        message = arrival.message
        workspaces[message.run_id] = arrival.workspace_id
        lease = connections.setdefault((arrival.lease_id, arrival.connection), len(connections) + 1)
        if type(message) is StepDone:
            results.setdefault((message.run_id, message.id, message.index), (message, lease))
        elif type(message) is RunCompleted:
            ends.setdefault(message.run_id, (message, lease))
    rows = list(results.values())
    row = await database.fetchrow(
        "put_progress",
        [lease_id for lease_id, _ in connections],
        [number for _, number in connections],
        [message.run_id for message, _ in rows],
        [lease for _, lease in rows],
        [message.id for message, _ in rows],
        [message.index for message, _ in rows],
        [message.attempts for message, _ in rows],
        [database.sealed(workspaces[message.run_id], bytes(message.output)) for message, _ in rows],
        [message.elapsed_ms for message, _ in rows],
        (run_ids := sorted(ends)),
        [ends[run_id][1] for run_id in run_ids],
        [database.sealed(workspaces[run_id], bytes(ends[run_id][0].output)) for run_id in run_ids],
    )
    assert row is not None
    ended = frozenset(row["ended"] or ())
    written = row["written"] == len(results)
    if written and len(ended) == len(ends):
        return Progress(row["number"], ended, list(arrivals), [])
    fates = [arrival.run_id in ended or (written and type(arrival.message) is StepDone) for arrival in arrivals]
    return Progress(
        row["number"],
        ended,
        [arrival for arrival, done in zip(arrivals, fates, strict=True) if done],
        [arrival for arrival, done in zip(arrivals, fates, strict=True) if not done],
    )
