"""The short way to the database for nearly all that holders send: one statement a batch, with nothing to read first.

A run is *quiet* while nobody but its holder has anything to do with it: it has no open wait that another could settle,
and no loss that progress would have to forget. The result of a step of a quiet run, if nothing is on record of the step
yet, and the run's end, have one outcome if the lease stands and nobody has asked for cancellation. Postgres checks that
as it writes; a batch in which something does not stand goes the long way (`rotor.store.committer`), where a result that
was written already is left as it is. A quiet run that its worker parks on one sleep, and says nothing else of, has one
outcome too. It takes a statement of its own, so that results wait for no more than they need.

While a result is written its run's row is not locked. What keeps others from writing under its holder is the row of the
lease: they mark it as taken before they take its runs, and it is held here up to the commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg

from rotor.engine.arrivals import Arrival, EventArrived, FromHolder
from rotor.protocol.messages import RunCompleted, RunParked, StepDone, StepParked
from rotor.store.database import Connection, Database
from rotor.store.holders import Holders
from rotor.store.wakes import Wake

__all__ = ["Park", "Progress", "Ways", "divide", "write_parks", "write_progress"]


class Progress(NamedTuple):
    """What came of a batch that went the short way."""

    group: int
    """The number of the commit."""
    ended: frozenset[str]
    """The runs that came to their end."""
    done: Sequence[FromHolder]
    left: Sequence[FromHolder]
    """What has to go the long way after all."""
    deadline_seconds: float | None = None
    """How far away the nearest new deadline is."""


class Park(NamedTuple):
    """A quiet run that its worker parks on one sleep."""

    run_id: UUID
    sleep: StepParked
    parked: RunParked
    said: Sequence[FromHolder]
    """The two messages."""


class Ways(NamedTuple):
    """Which way the parts of a batch go."""

    progress: Sequence[FromHolder]
    """Results and ends that go the short way."""
    parks: Sequence[Park]
    """Parks that do."""
    wakes: Sequence[Wake]
    """Events for parked runs that do."""
    long: Sequence[Arrival]


def divide(arrivals: Sequence[Arrival], holders: Holders) -> Ways:
    """Part a batch: all that comes of one run stays together, in its order."""
    fits = [_fits(arrival, holders) for arrival in arrivals]
    if all(fits):
        return Ways(arrivals, [], [], [])  # type: ignore[arg-type]
    apart: dict[UUID, list[Arrival]] = {
        arrival.run_id: [] for arrival, fit in zip(arrivals, fits, strict=True) if not fit
    }
    progress: list[FromHolder] = []
    for arrival in arrivals:
        apart.get(arrival.run_id, progress).append(arrival)  # type: ignore[arg-type]
    parks = [park for run_id, said in apart.items() if (park := _park(run_id, said, holders)) is not None]
    wakes = _wakes(apart, holders)
    short = {park.run_id for park in parks} | {wake.arrival.run_id for wake in wakes}
    long = [arrival for arrival in arrivals if arrival.run_id in apart and arrival.run_id not in short]
    return Ways(progress, parks, wakes, long)


def _wakes(apart: Mapping[UUID, Sequence[Arrival]], holders: Holders) -> list[Wake]:
    """The runs to which one event comes, and nothing else, and whose bodies workers here keep."""
    events = [said[0] for said in apart.values() if len(said) == 1 and type(said[0]) is EventArrived]
    keepers = holders.keepers_of(event.run_id for event in events) if events else {}
    return [Wake(event, *keepers[event.run_id]) for event in events if event.run_id in keepers]


def _fits(arrival: Arrival, holders: Holders) -> bool:
    if type(arrival) is not FromHolder:
        return False
    message = arrival.message
    kind = type(message)
    if kind is StepDone:
        plain = message.op == "run" and message.attempts == 1  # type: ignore[union-attr]
        return plain and holders.is_new(arrival.lease_id, message.run_id, (message.id, message.index))  # type: ignore[union-attr]
    return kind is RunCompleted and holders.is_quiet(arrival.lease_id, message.run_id)


def _park(run_id: UUID, said: Sequence[Arrival], holders: Holders) -> Park | None:
    """What a worker says of a quiet run, if that is one sleep and the parking, and nothing else."""
    match said:
        case [FromHolder(message=StepParked() as sleep) as first, FromHolder(message=RunParked() as parked) as second]:
            same = first.lease_id == second.lease_id and first.connection == second.connection is not None
            plain = sleep.op == "sleep" and sleep.topic is None and sleep.child is None
            if same and plain and holders.is_quiet(second.lease_id, parked.run_id):
                return Park(run_id, sleep, parked, (first, second))
        case _:
            pass
    return None


async def write_progress(database: Database, arrivals: Sequence[FromHolder]) -> Progress:
    """Write results and ends of quiet runs, in one statement that is its own transaction."""
    try:
        async with database.connection() as connection:
            if len(arrivals) == 1:
                return await _write_one(connection, arrivals)
            return await _write_all(connection, arrivals)
    except asyncpg.UniqueViolationError:
        return _all_left(arrivals)


async def _write_one(connection: Connection, arrivals: Sequence[FromHolder]) -> Progress:
    """Write a batch that is one result, or one end."""
    (arrival,) = arrivals
    message = arrival.message
    assert isinstance(message, StepDone | RunCompleted)
    holder, run_id = (arrival.lease_id, arrival.connection), arrival.run_id
    (output,) = connection.sealed((arrival.workspace_id,), (bytes(message.output),))
    ended = frozenset[str]()
    if type(message) is StepDone:
        step = message.id, message.index
        number = await connection.fetchval("put_result", *holder, run_id, *step, output, message.elapsed_ms)
    else:
        number = await connection.fetchval("put_end", *holder, run_id, output)
        ended = frozenset((message.run_id,))
    return _all_left(arrivals) if number is None else Progress(number, ended, arrivals, [])


async def _write_all(connection: Connection, arrivals: Sequence[FromHolder]) -> Progress:
    """Write a batch."""
    connections: dict[tuple[UUID, int | None], int] = {}
    results: list[StepDone] = []
    leases: list[int] = []
    workspaces: list[int] = []
    ends: dict[str, tuple[RunCompleted, int, int]] = {}
    for arrival in arrivals:
        message = arrival.message
        lease = connections.setdefault((arrival.lease_id, arrival.connection), len(connections) + 1)
        if type(message) is StepDone:
            results.append(message)
            leases.append(lease)
            workspaces.append(arrival.workspace_id)
        elif type(message) is RunCompleted:
            ends[message.run_id] = message, lease, arrival.workspace_id
    ending = [ends[run_id] for run_id in sorted(ends)]  # all who lock several runs' rows do it in this order
    row = await connection.fetchrow(
        "put_progress",
        [lease_id for lease_id, _ in connections],
        [number for _, number in connections],
        _joined(result.run_id for result in results),
        _joined(leases),
        [result.id for result in results],
        _joined(result.index for result in results),
        connection.sealed(workspaces, [bytes(result.output) for result in results]),
        _joined(result.elapsed_ms for result in results),
        _joined(end.run_id for end, _, _ in ending),
        _joined(lease for _, lease, _ in ending),
        connection.sealed([workspace for *_, workspace in ending], [bytes(end.output) for end, _, _ in ending]),
    )
    if row is None:
        return _all_left(arrivals)
    ended = frozenset(row["ended"] or ())
    if len(ended) == len(ends):
        return Progress(row["number"], ended, arrivals, [])
    fates = [type(arrival.message) is StepDone or arrival.message.run_id in ended for arrival in arrivals]
    return Progress(
        row["number"],
        ended,
        [arrival for arrival, done in zip(arrivals, fates, strict=True) if done],
        [arrival for arrival, done in zip(arrivals, fates, strict=True) if not done],
    )


async def write_parks(database: Database, parks: Sequence[Park]) -> Progress:
    """Write parks of quiet runs, in one statement that is its own transaction."""
    parks = sorted(parks, key=lambda park: park.run_id)  # all who lock several runs' rows do it in this order
    connections: dict[tuple[UUID, int | None], int] = {}
    leases = []
    for park in parks:
        last = park.said[-1]
        leases.append(connections.setdefault((last.lease_id, last.connection), len(connections) + 1))
    try:
        async with database.connection() as connection:
            row = await connection.fetchrow(
                "put_parks",
                [lease_id for lease_id, _ in connections],
                [number for _, number in connections],
                _joined(park.parked.run_id for park in parks),
                _joined(leases),
                _joined(park.parked.settled for park in parks),
                _joined(park.parked.kept for park in parks),
                [park.sleep.id for park in parks],
                _joined(park.sleep.index for park in parks),
                [park.sleep.seconds for park in parks],
                [park.sleep.until for park in parks],
            )
    except asyncpg.UniqueViolationError:
        row = None
    if row is None:
        return _all_left([arrival for park in parks for arrival in park.said])
    parked = frozenset(row["parked"] or ())
    return Progress(
        row["number"],
        frozenset(),
        [arrival for park in parks if park.run_id in parked for arrival in park.said],
        [arrival for park in parks if park.run_id not in parked for arrival in park.said],
        row["deadline_seconds"],
    )


def _all_left(arrivals: Sequence[FromHolder]) -> Progress:
    return Progress(0, frozenset(), [], arrivals)


def _joined(values: Iterable[int | str]) -> str:
    """Ids or numbers as one text: asyncpg asks of each element of an array whether it is an array."""
    return ",".join(map(str, values))
