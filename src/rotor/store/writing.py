"""The one place that writes effects: everything a batch of decisions comes to, in few statements of one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from rotor import limits
from rotor.engine.batch import Outcome
from rotor.engine.effects import DropWait, Emit, PutSignal, PutWait, ReleaseSignal, StartChild
from rotor.engine.run import StepKey
from rotor.protocol import json
from rotor.store.database import Connection
from rotor.store.fresh import Accepted
from rotor.store.group_commit import TryAgain
from rotor.store.intake import EventRow, Intake, NewRun, insert_events, insert_runs

__all__ = ["Written", "write"]

E = TypeVar("E")


class Written:
    """What a write has to tell: the commit's number, and what may be due because of it."""

    group: int = 0
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
    connection: Connection, outcome: Outcome, signals_known: frozenset[tuple[int, str]], intake: Intake
) -> Written:
    """Write `outcome`; `signals_known` are the signal rows that were there under lock when it was decided."""
    written = Written()
    if outcome.steps:
        await _put_steps(connection, outcome, written)
    if outcome.effects:
        await _write_waits(connection, outcome, written)
        await _write_signals(connection, outcome, signals_known)
        await _start_children(connection, _of(outcome, StartChild), written)
        emitted = [
            EventRow(e.workspace_id, e.event_id, e.name, e.data, e.ts, e.traceparent) for e in _of(outcome, Emit)
        ]
        if emitted:
            written.accepted = await intake.accept_in(connection, emitted)
    if outcome.changed:
        await _update_runs(connection, outcome, written)
    return written


def _of(outcome: Outcome, kind: type[E]) -> list[E]:
    return [effect for effect in outcome.effects if isinstance(effect, kind)]


async def _put_steps(connection: Connection, outcome: Outcome, written: Written) -> None:
    puts = list(outcome.steps.values())
    workspace_ids = [outcome.runs[put.key.run_id].workspace_id for put in puts]
    row = await connection.fetchrow(
        "put_steps",
        [put.key.run_id for put in puts],
        [put.key.id for put in puts],
        [put.key.index for put in puts],
        [put.op for put in puts],
        [put.status for put in puts],
        [put.attempts for put in puts],
        connection.sealed(workspace_ids, [put.output for put in puts]),
        connection.sealed(workspace_ids, [put.error for put in puts]),
        [put.child_run_id for put in puts],
        [put.event_id for put in puts],
        [put.waits_for for put in puts],
        [put.seconds for put in puts],
        [put.until for put in puts],
        [put.elapsed_ms for put in puts],
    )
    assert row is not None
    written.group = row["number"]
    if row["written"] < len(puts):
        keys = list(outcome.steps)
        found = await connection.fetch(
            "read_step_groups",
            [key.run_id for key in keys],
            [key.id for key in keys],
            [key.index for key in keys],
            written.group,
        )
        written.recorded = {StepKey(one["run_id"], one["id"], one["index"]): one["settled_group"] for one in found}


async def _write_waits(connection: Connection, outcome: Outcome, written: Written) -> None:
    """Drop what ended, then insert what parks; what did both in one batch leaves nothing."""
    dropped = [drop.key for drop in _of(outcome, DropWait)]
    if dropped:
        await connection.execute(
            "drop_waits", [key.run_id for key in dropped], [key.id for key in dropped], [key.index for key in dropped]
        )
    parked = {}
    for effect in outcome.effects:
        if isinstance(effect, PutWait):
            parked[effect.key] = effect
        elif isinstance(effect, DropWait):
            parked.pop(effect.key, None)
    if parked:
        waits = list(parked.values())
        written.deadline_seconds = await _insert_waits(connection, waits)
        written.waits = [wait for wait in waits if wait.match is not None]


async def _insert_waits(connection: Connection, waits: Sequence[PutWait]) -> float | None:
    workspace_ids = [wait.workspace_id for wait in waits]
    equals = [json.encode(dict(wait.match.equals)) if wait.match and wait.match.equals else None for wait in waits]
    expressions = [wait.match.rest.encode() if wait.match and wait.match.rest else None for wait in waits]
    seconds: float | None = await connection.fetchval(
        "insert_waits",
        [wait.key.run_id for wait in waits],
        [wait.key.id for wait in waits],
        [wait.key.index for wait in waits],
        workspace_ids,
        [wait.seconds for wait in waits],
        [wait.until for wait in waits],
        [wait.topic for wait in waits],
        [wait.match.index_path if wait.match else None for wait in waits],
        [wait.match.match_hash if wait.match else None for wait in waits],
        connection.sealed(workspace_ids, equals),
        connection.sealed(workspace_ids, expressions),
        [wait.since for wait in waits],
    )
    return seconds


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


async def _start_children(connection: Connection, children: Sequence[StartChild], written: Written) -> None:
    if not children:
        return
    events = [
        EventRow(child.workspace_id, str(child.run_id), "rotor/invoke", child.data, traceparent=child.traceparent)
        for child in children
    ]
    await insert_events(connection, events)
    await insert_runs(
        connection,
        [
            NewRun(
                child.workspace_id,
                child.function_id,
                str(child.run_id),
                id=child.run_id,
                depth=child.depth,
                parent=(child.parent.run_id, child.parent.id, child.parent.index),
            )
            for child in children
        ],
    )
    written.queued = True


async def _update_runs(connection: Connection, outcome: Outcome, written: Written) -> None:
    runs = [outcome.runs[run_id] for run_id in outcome.changed]
    workspace_ids = [run.workspace_id for run in runs]
    await connection.execute(
        "update_runs",
        [run.id for run in runs],
        [run.status for run in runs],
        [run.lease_id for run in runs],
        [run.attempt for run in runs],
        [run.settled for run in runs],
        [run.losses for run in runs],
        [run.due_seconds for run in runs],
        connection.sealed(workspace_ids, [run.output for run in runs]),
        connection.sealed(workspace_ids, [run.error for run in runs]),
        [run.kept_by for run in runs],
        [run.cancelling for run in runs],
    )
    ended = [run.id for run in runs if run.ended]
    if ended:
        await connection.execute("close_steps", ended, limits.SIGNAL_KEPT)
    due = [run.due_seconds or 0 for run in runs if run.status == "queued"]
    if due:
        written.queued |= min(due) <= 0
        written.due_seconds = min((seconds for seconds in due if seconds > 0), default=None)
