"""The one place that writes effects: everything a batch of decisions comes to, in few statements of one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar
from uuid import UUID

from rotor import limits
from rotor.engine.batch import Outcome
from rotor.engine.effects import DropWait, Emit, PutSignal, PutWait, ReleaseSignal, StartChild
from rotor.engine.run import Run, StepKey
from rotor.protocol import json
from rotor.store.database import Connection
from rotor.store.event_rows import EventRow, as_seen, insert_events
from rotor.store.fresh import Accepted
from rotor.store.group_commit import TryAgain
from rotor.store.intake import Intake, NewRun, insert_runs
from rotor.store.starting import Starting

__all__ = ["Written", "write"]

E = TypeVar("E")


class Written:
    """What a write has to tell: the commit's number, and what may be due because of it."""

    group: int = 0
    ended_at: datetime
    """Of all that ended in it."""
    recorded: Mapping[StepKey, int] = MappingProxyType({})
    """Of steps that had ended before: the commits that recorded them."""
    deadline_seconds: float | None = None
    """How far away the nearest new deadline is."""
    waits: Sequence[PutWait] = ()
    """Those for events, which have still to look back."""
    accepted: Accepted | None = None
    """What the events that steps have sent leave to be done."""
    queued: bool = False
    due_seconds: float | None = None
    """How far away the nearest try of a body is that has to wait."""


async def write(
    connection: Connection,
    outcome: Outcome,
    signals_known: frozenset[tuple[int, str]],
    settled: AbstractSet[UUID],
    intake: Intake,
    *,
    starts: Starting,
) -> Written:
    """Write `outcome`; `signals_known` are the signal rows that were there under lock when it was decided, `settled`
    the runs that leave nothing open as they end. After the commit `starts` are to be handed out."""
    written = Written()
    if outcome.steps or outcome.effects or outcome.changed:
        await _put_batch(connection, outcome, written)
    if outcome.effects:
        await _write_signals(connection, outcome, signals_known)
        await _start_children(connection, _of(outcome, StartChild), written, starts)
        emitted = [
            EventRow(e.workspace_id, e.event_id, e.name, e.data, e.ts, e.traceparent) for e in _of(outcome, Emit)
        ]
        if emitted:
            written.accepted = await intake.accept_in(connection, emitted, starts)
    unsettled = [run_id for run_id in outcome.changed if outcome.runs[run_id].ended and run_id not in settled]
    if unsettled:
        await connection.execute("close_steps", unsettled, limits.SIGNAL_KEPT, written.ended_at)
    return written


def _of(outcome: Outcome, kind: type[E]) -> list[E]:
    return [effect for effect in outcome.effects if isinstance(effect, kind)]


async def _put_batch(connection: Connection, outcome: Outcome, written: Written) -> None:
    """Steps, waits and runs: one statement for nearly all batches."""
    dropped, waits = _waits(outcome)
    runs = [outcome.runs[run_id] for run_id in outcome.changed]
    row = await connection.fetchrow(
        "put_batch",
        *_step_columns(connection, outcome),
        [key.run_id for key in dropped],
        [key.id for key in dropped],
        [key.index for key in dropped],
        *_wait_columns(connection, waits),
        *_run_columns(connection, runs),
    )
    assert row is not None
    written.group = row["number"]
    written.ended_at = row["ended_at"]
    written.deadline_seconds = row["deadline_seconds"]
    written.waits = [wait for wait in waits if wait.match is not None]
    due = [run.due_seconds or 0 for run in runs if run.status == "queued"]
    if due:
        written.queued = min(due) <= 0
        written.due_seconds = min((seconds for seconds in due if seconds > 0), default=None)
    if row["written"] < len(outcome.steps):
        keys = list(outcome.steps)
        found = await connection.fetch(
            "read_step_groups",
            [key.run_id for key in keys],
            [key.id for key in keys],
            [key.index for key in keys],
            written.group,
        )
        written.recorded = {StepKey(one["run_id"], one["id"], one["index"]): one["settled_group"] for one in found}


def _step_columns(connection: Connection, outcome: Outcome) -> Iterator[Sequence[object]]:
    puts = list(outcome.steps.values())
    workspace_ids = [outcome.runs[put.key.run_id].workspace_id for put in puts]
    yield [put.key.run_id for put in puts]
    yield [put.key.id for put in puts]
    yield [put.key.index for put in puts]
    yield [put.op for put in puts]
    yield [put.status for put in puts]
    yield [put.attempts for put in puts]
    yield connection.sealed(workspace_ids, [put.output for put in puts])
    yield connection.sealed(workspace_ids, [put.error for put in puts])
    yield [put.child_run_id for put in puts]
    yield [put.event_id for put in puts]
    yield [put.waits_for for put in puts]
    yield [put.seconds for put in puts]
    yield [put.until for put in puts]
    yield [put.elapsed_ms for put in puts]


def _waits(outcome: Outcome) -> tuple[list[StepKey], list[PutWait]]:
    """What is over, and what parks: what did both in one batch leaves nothing, and what begins again is only put."""
    dropped: dict[StepKey, None] = {}
    parked: dict[StepKey, PutWait] = {}
    for effect in outcome.effects:
        if isinstance(effect, PutWait):
            parked[effect.key] = effect
        elif isinstance(effect, DropWait):
            parked.pop(effect.key, None)
            dropped[effect.key] = None
    return [key for key in dropped if key not in parked], list(parked.values())


def _wait_columns(connection: Connection, waits: Sequence[PutWait]) -> Iterator[Sequence[object]]:
    workspace_ids = [wait.workspace_id for wait in waits]
    equals = [json.encode(dict(wait.match.equals)) if wait.match and wait.match.equals else None for wait in waits]
    expressions = [wait.match.rest.encode() if wait.match and wait.match.rest else None for wait in waits]
    yield [wait.key.run_id for wait in waits]
    yield [wait.key.id for wait in waits]
    yield [wait.key.index for wait in waits]
    yield workspace_ids
    yield [wait.seconds for wait in waits]
    yield [wait.until for wait in waits]
    yield [wait.topic for wait in waits]
    yield [wait.match.index_path if wait.match else None for wait in waits]
    yield [wait.match.match_hash if wait.match else None for wait in waits]
    yield connection.sealed(workspace_ids, equals)
    yield connection.sealed(workspace_ids, expressions)
    yield [wait.since for wait in waits]


def _run_columns(connection: Connection, runs: Sequence[Run]) -> Iterator[Sequence[object]]:
    workspace_ids = [run.workspace_id for run in runs]
    yield [run.id for run in runs]
    yield [run.status for run in runs]
    yield [run.lease_id for run in runs]
    yield [run.attempt for run in runs]
    yield [run.settled for run in runs]
    yield [run.losses for run in runs]
    yield [run.due_seconds for run in runs]
    yield connection.sealed(workspace_ids, [run.output for run in runs])
    yield connection.sealed(workspace_ids, [run.error for run in runs])
    yield [run.kept_by for run in runs]
    yield [run.cancelling for run in runs]


async def _write_signals(connection: Connection, outcome: Outcome, known: frozenset[tuple[int, str]]) -> None:
    """What was last decided of each signal id stands: a step may wait for one that another has just given up.

    Data that a step took before that is written as delivered first, or it would be kept for yet another.
    """
    last: dict[tuple[int, str], PutSignal | ReleaseSignal] = {}
    taken = []
    for effect in outcome.effects:
        if isinstance(effect, PutSignal | ReleaseSignal):
            before = last.get((effect.workspace_id, effect.signal_id))
            if isinstance(before, PutSignal) and before.delivered:
                taken.append(before)
            last[effect.workspace_id, effect.signal_id] = effect
    if taken:
        await _update_signals(connection, taken)
    released = [effect for effect in last.values() if isinstance(effect, ReleaseSignal)]
    if released:
        await connection.execute(
            "release_signals",
            [release.workspace_id for release in released],
            [release.signal_id for release in released],
            limits.SIGNAL_KEPT,
        )
    puts = {key: effect for key, effect in last.items() if isinstance(effect, PutSignal)}
    fresh = [put for key, put in puts.items() if key not in known]
    if fresh:
        made = await connection.fetchval(
            "put_signals",
            [put.workspace_id for put in fresh],
            [put.signal_id for put in fresh],
            [put.waiter.run_id for put in fresh],
            [put.waiter.id for put in fresh],
            [put.waiter.index for put in fresh],
        )
        if made != len(fresh):
            raise TryAgain
    there = [put for key, put in puts.items() if key in known]
    if there:
        await _update_signals(connection, there)


async def _update_signals(connection: Connection, puts: Sequence[PutSignal]) -> None:
    await connection.execute(
        "update_signals",
        [put.workspace_id for put in puts],
        [put.signal_id for put in puts],
        [put.waiter.run_id for put in puts],
        [put.waiter.id for put in puts],
        [put.waiter.index for put in puts],
        [put.delivered for put in puts],
        limits.SIGNAL_KEPT,
    )


async def _start_children(
    connection: Connection, children: Sequence[StartChild], written: Written, starts: Starting
) -> None:
    if not children:
        return
    events = [
        EventRow(child.workspace_id, str(child.run_id), "rotor/invoke", child.data, traceparent=child.traceparent)
        for child in children
    ]
    at = {row["id"]: row["ts"] for row in await insert_events(connection, events)}
    runs = [
        NewRun(
            child.workspace_id,
            child.function_id,
            str(child.run_id),
            id=child.run_id,
            depth=child.depth,
            parent=(child.parent.run_id, child.parent.id, child.parent.index),
        )
        for child in children
    ]
    offer = starts.offer([(run.workspace_id, run.function_id) for run in runs])
    started = await insert_runs(connection, runs, offer)
    for event, run, worker in zip(events, runs, offer.places, strict=True):
        if event.id in started:
            seen = as_seen(event, at[event.id])
            starts.started(offer.workers[worker - 1], event.id, run.function_id, seen, event.traceparent)
    written.queued = written.queued or len(started) < len(runs)
