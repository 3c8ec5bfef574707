"""What a batch of decisions has to know, read under the locks of its runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

from msgspec.structs import replace

from rotor.engine.arrivals import (
    Arrival,
    Cancelled,
    ChildEnded,
    DeadlineReached,
    EventArrived,
    FromHolder,
    HolderLost,
    SignalArrived,
)
from rotor.engine.run import Known, Run, Signal, Step, StepKey, Wait
from rotor.protocol.messages import (
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunParked,
    RunReleased,
    StepDone,
    StepFailed,
    StepParked,
    StepStarted,
    StepWithdrawn,
)
from rotor.store.database import Connection, Record
from rotor.store.holders import NOBODY, Keepers
from rotor.store.intake import hold_functions

__all__ = ["lock_runs", "read_known"]

ENDING = (RunCompleted, RunFailed, RunParked, RunCancelled, RunReleased)


async def lock_runs(connection: Connection, arrivals: Sequence[Arrival], keeping: Sequence[UUID]) -> dict[UUID, Run]:
    """Lock the workers' leases of a batch, its runs, and the parents of those that may end in it.

    Those in `keeping` are leases of who may go on with runs that wake.
    """
    ending = {arrival.run_id for arrival in arrivals if _may_end(arrival)}
    leases = {
        arrival.lease_id
        for arrival in arrivals
        if isinstance(arrival, FromHolder | HolderLost) and arrival.connection is not None
    }
    rows = await connection.fetch(
        "lock_runs",
        list({arrival.run_id for arrival in arrivals}),
        list(ending),
        list(leases),
        keeping if any(map(_may_wake, arrivals)) else [],
    )
    return {row["id"]: _run(row) for row in rows}


def _may_end(arrival: Arrival) -> bool:
    match arrival:
        case FromHolder(message=message):
            return isinstance(message, ENDING)
        case HolderLost() | Cancelled():
            return True
        case _:
            return False


def _may_wake(arrival: Arrival) -> bool:
    """Whether a run may go on because of it: its own, or the parent of one that ends."""
    return not isinstance(arrival, FromHolder) or _ends(arrival)


def _ends(arrival: Arrival) -> bool:
    return isinstance(arrival, FromHolder) and isinstance(arrival.message, RunCompleted | RunFailed | RunCancelled)


def _run(row: Record) -> Run:
    parent = row["parent_run_id"]
    return Run(
        id=row["id"],
        workspace_id=row["workspace_id"],
        function_id=row["function_id"],
        status=row["status"],
        created_at=row["created_at"],
        lease_id=row["lease_id"],
        attempt=row["attempt"],
        settled=row["settled"],
        losses=row["losses"],
        depth=row["depth"],
        cancelling=row["cancelling"],
        kept_by=row["kept_by"],
        keeper=row["keeper"],
        parent=StepKey(parent, row["parent_step_id"], row["parent_step_index"]) if parent else None,
        connection=row["connection"],
    )


async def read_known(
    connection: Connection,
    runs: dict[UUID, Run],
    arrivals: Sequence[Arrival],
    *,
    keepers: Keepers = NOBODY,
    counted: Collection[UUID] = (),
) -> Known:
    """Read what decisions on `arrivals` may look at. Batches of plain results read nothing.

    Of the runs in `counted` and of those that park it is known how many waits they have.
    """
    known = Known(resumable=keepers.runs, room=Counter(keepers.room))
    arrivals = [arrival for arrival in arrivals if not _is_plain(arrival)]
    if not arrivals:
        return known
    await _read_rows(connection, runs, arrivals, counted, known)
    signals = {signal for arrival in arrivals for signal in _signals(arrival, runs, known)}
    if signals:
        await _read_signals(connection, signals, known)
    functions = {function for arrival in arrivals for function in _functions(arrival)}
    return replace(known, functions=await hold_functions(connection, functions))


def _is_plain(arrival: Arrival) -> bool:
    """A step's result, or its beginning: most of what arrives, and nothing needs to be known for it."""
    return isinstance(arrival, FromHolder) and (
        (isinstance(arrival.message, StepDone) and arrival.message.emit is None)
        or isinstance(arrival.message, StepStarted)
    )


def _step_keys(arrival: Arrival, runs: dict[UUID, Run]) -> Iterable[StepKey]:
    match arrival:
        case FromHolder(run_id=run_id, message=StepFailed() | StepParked() | StepWithdrawn() as message):
            yield StepKey(run_id, message.id, message.index)
        case FromHolder(run_id=run_id, message=StepDone(emit=emit) as message) if emit is not None:
            yield StepKey(run_id, message.id, message.index)
        case DeadlineReached(key=key) | EventArrived(key=key) | SignalArrived(key=key) | ChildEnded(key=key):
            yield key
        case _:
            pass
    run = runs.get(arrival.run_id)
    if run is not None and run.parent is not None and _may_end(arrival):
        yield run.parent


async def _read_rows(
    connection: Connection,
    runs: dict[UUID, Run],
    arrivals: Sequence[Arrival],
    counted: Collection[UUID],
    known: Known,
) -> None:
    """What is recorded of steps, waits and events."""
    keys = list({key for arrival in arrivals for key in _step_keys(arrival, runs)})
    pairs = [(arrival.key.run_id, arrival.event_id) for arrival in arrivals if isinstance(arrival, EventArrived)]
    ending = {arrival.run_id for arrival in arrivals if _ends(arrival)}
    asked = list(ending.union(counted, (arrival.run_id for arrival in arrivals if _parks(arrival))))
    if not keys and not asked:
        return
    rows = await connection.fetch(
        "read_known",
        [key.run_id for key in keys],
        [key.id for key in keys],
        [key.index for key in keys],
        [run_id for run_id, _ in pairs],
        [event_id for _, event_id in pairs],
        asked,
        [run_id in ending for run_id in asked],
    )
    for row in rows:
        if row["about"] == "step":
            _know_step(known, row)
        elif row["about"] == "taken":
            known.taken.add((row["run_id"], row["id"]))
        else:
            known.parked[row["run_id"]] = row["waits"]
            if row["run_id"] in ending and not row["open"] and not row["waits"]:
                known.settled.add(row["run_id"])


def _know_step(known: Known, row: Record) -> None:
    key = StepKey(row["run_id"], row["id"], row["index"])
    known.steps[key] = Step(row["op"], row["status"], row["attempts"], row["child_run_id"], row["settled_group"])
    if row["parked"]:
        known.waits[key] = Wait(row["topic"], row["due"])


def _signals(arrival: Arrival, runs: dict[UUID, Run], known: Known) -> Iterable[tuple[int, str]]:
    run = runs.get(arrival.run_id)
    if run is None:
        return
    match arrival:
        case SignalArrived(signal_id=signal_id):
            yield run.workspace_id, signal_id
        case FromHolder(message=StepParked(topic=str(topic))) if topic.startswith("signal:"):
            yield run.workspace_id, topic.removeprefix("signal:")
        case DeadlineReached(key=key):
            yield from _awaited(run, known.waits.get(key))
        case FromHolder(message=StepWithdrawn() as message):
            yield from _awaited(run, known.waits.get(StepKey(run.id, message.id, message.index)))
        case _:
            pass


def _awaited(run: Run, wait: Wait | None) -> Iterable[tuple[int, str]]:
    if wait is not None and wait.topic is not None and wait.topic.startswith("signal:"):
        yield run.workspace_id, wait.topic.removeprefix("signal:")


async def _read_signals(connection: Connection, signals: set[tuple[int, str]], known: Known) -> None:
    ordered = sorted(signals)
    for row in await connection.fetch("lock_signals", [key[0] for key in ordered], [key[1] for key in ordered]):
        waiter = StepKey(row["run_id"], row["step_id"], row["step_index"]) if row["run_id"] else None
        known.signals[row["workspace_id"], row["id"]] = Signal(waiter, row["data"], row["delivered"], row["expired"])


def _functions(arrival: Arrival) -> Iterable[tuple[int, str]]:
    match arrival:
        case FromHolder(workspace_id=workspace_id, message=StepParked(child=child)) if child is not None:
            yield workspace_id, child.function_id
        case _:
            pass


def _parks(arrival: Arrival) -> bool:
    return isinstance(arrival, FromHolder) and isinstance(arrival.message, RunParked)
