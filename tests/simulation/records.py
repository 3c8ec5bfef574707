"""The model of the store: what its statements do with the effects of decisions, in dictionaries, by its own clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TypeAlias

import msgspec
from uuid_utils import UUID

from rotor import limits
from rotor.engine import batch
from rotor.engine.arrivals import (
    SETTLEMENTS,
    Arrival,
    Cancelled,
    DeadlineReached,
    EventArrived,
    FromHolder,
    HolderLost,
    SignalArrived,
)
from rotor.engine.batch import Outcome
from rotor.engine.effects import (
    DropWait,
    Emit,
    PutSignal,
    PutStep,
    PutWait,
    ReleaseSignal,
    StartChild,
)
from rotor.engine.matching import Match
from rotor.engine.run import Known, Run, Signal, Step, StepKey, Wait
from rotor.engine.states import STEP_ENDED
from rotor.protocol import json
from rotor.protocol.json import NULL, Raw
from rotor.protocol.messages import (
    Error,
    Event,
    Memo,
    ResumeRun,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunParked,
    RunReleased,
    StartRun,
    StepDone,
    StepFailed,
    StepOp,
    StepParked,
    StepStatus,
    StepWithdrawn,
)
from tests.simulation.programs import FUNCTIONS

__all__ = ["BEGINNING", "EventRow", "Records", "RunRow", "SignalRow", "StepRow", "WaitRow", "Written"]

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
ENDING = frozenset((RunCompleted, RunFailed, RunParked, RunCancelled, RunReleased))
LOSING = frozenset((HolderLost, Cancelled))
SIGNALS = (PutSignal, ReleaseSignal)
READING = (StepFailed, StepParked, StepWithdrawn)
FUNCTIONS_KNOWN = frozenset((1, name) for name in FUNCTIONS)
SIGNAL_KEPT = limits.SIGNAL_KEPT.total_seconds()


@dataclass(slots=True)
class RunRow:
    run: Run
    event: Event
    due: float | None
    kept_by: UUID | None = None
    kept_group: int = 0
    output: bytes | None = None
    error: bytes | None = None
    sessions: int = 0
    """How often it was claimed from the top."""
    ended_at: float | None = None


@dataclass(slots=True)
class StepRow:
    op: StepOp
    status: StepStatus
    attempts: int
    output: bytes | None
    error: bytes | None
    child: UUID | None
    event_id: str | None
    waits_for: str | None
    group: int
    position: int

    @property
    def ended(self) -> bool:
        return self.status in STEP_ENDED

    @property
    def fixed(self) -> Written:
        """What no later write of a step that has ended may change."""
        return self.op, self.status, self.output, self.error, self.group


Written: TypeAlias = tuple[StepOp, StepStatus, bytes | None, bytes | None, int] | None
"""A step as it stood before a transaction, or None where it is new."""


@dataclass(slots=True)
class WaitRow:
    deadline: float | None
    topic: str | None
    match: Match | None
    since: datetime | None
    unlooked: bool
    """The look back at what came before is owed."""


@dataclass(slots=True)
class EventRow:
    id: str
    name: str
    data: bytes
    accepted: float

    @property
    def ts(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.accepted)

    def view(self) -> dict[str, object]:
        return {"id": self.id, "name": self.name, "data": json.decode(self.data), "ts": self.ts}

    def encoded(self) -> bytes:
        return msgspec.json.encode(Event(id=self.id, name=self.name, data=Raw(self.data), ts=self.ts))


@dataclass(slots=True)
class SignalRow:
    waiter: StepKey | None = None
    data: bytes | None = None
    delivered: bool = False
    expires: float | None = None


@dataclass
class Records:
    """All rows, and the clock."""

    random: Random
    now: float = 0.0
    runs: dict[UUID, RunRow] = field(default_factory=dict)
    open: dict[UUID, RunRow] = field(default_factory=dict)
    """Those of them that have not ended."""
    steps: dict[UUID, dict[StepKey, StepRow]] = field(default_factory=dict)
    """By run."""
    waits: dict[UUID, dict[StepKey, WaitRow]] = field(default_factory=dict)
    """By run; an empty one is not kept."""
    written: dict[StepKey, Written] = field(default_factory=dict)
    """The steps that the last transaction wrote, each as it was before, or None."""
    signals: dict[str, SignalRow] = field(default_factory=dict)
    events: dict[str, EventRow] = field(default_factory=dict)
    """In the order in which they took effect."""
    undelivered: list[str] = field(default_factory=list)
    """Events for which waits have still to be looked for."""
    leases: dict[UUID, float] = field(default_factory=dict)
    """When each runs out."""
    connections: dict[UUID, int] = field(default_factory=dict)
    """By the lease of a worker: how often it has connected."""
    group: int = 0
    ids: int = 0

    def fresh_id(self) -> UUID:
        self.ids += 1
        return UUID(int=self.ids)

    def at(self, seconds: float) -> datetime:
        return BEGINNING + timedelta(seconds=seconds)

    # --- what comes from outside

    def start(self, function_id: str, run_id: UUID, parent: StepKey | None = None, depth: int = 0) -> None:
        event = Event(id=f"start-{run_id}", name="start", data=NULL, ts=self.at(self.now))
        run = Run(run_id, 1, function_id, "queued", self.at(self.now), parent=parent, depth=depth)
        self.runs[run_id] = self.open[run_id] = RunRow(run, event, self.now)
        self.steps[run_id] = {}

    def accept(self, event_id: str, name: str, data: bytes) -> None:
        """An event; its id again changes nothing."""
        if event_id not in self.events:
            self.events[event_id] = EventRow(event_id, name, data, self.now)
            self.undelivered.append(event_id)

    def complete_signal(self, signal_id: str, data: bytes) -> tuple[bool, StepKey | None]:
        """Whether the completion is taken, and who waits for it."""
        row = self.signals.setdefault(signal_id, SignalRow())
        if row.data is not None and not self._expired(row):
            return False, None
        if row.delivered:
            row.waiter = None
        row.data, row.delivered = data, False
        row.expires = None if row.waiter is not None else self.now + SIGNAL_KEPT
        return True, row.waiter

    def is_kept(self, signal_id: str) -> bool:
        """Whether data has come for a signal that nobody has taken yet."""
        row = self.signals.get(signal_id)
        return row is not None and row.data is not None and not row.delivered and not self._expired(row)

    def _expired(self, row: SignalRow) -> bool:
        return row.expires is not None and row.expires <= self.now

    # --- claiming

    def claim(self, row: RunRow, lease_id: UUID, *, keeps: bool = False) -> StartRun | ResumeRun:
        """`keeps` is whether the server takes the holder to have the body, should it have parked the run last."""
        run = row.run
        was_kept = keeps and row.kept_by == lease_id
        self.group += 1
        row.run = msgspec.structs.replace(run, status="running", lease_id=lease_id)
        row.due = row.kept_by = None
        row.sessions += not was_kept
        if was_kept:
            memo = self.memos(run.id, after=row.kept_group)
            return ResumeRun(run_id=str(run.id), memo=memo, settled=run.settled)
        return StartRun(
            run_id=str(run.id),
            lease_id=str(lease_id),
            function_id=run.function_id,
            attempt=run.attempt,
            event=row.event,
            memo=self.memos(run.id),
            settled=run.settled,
        )

    def memos(self, run_id: UUID, *, after: int = 0) -> list[Memo]:
        """What is recorded of a run's steps, in the order in which it was settled."""
        steps = [item for item in self.steps[run_id].items() if item[1].group > after]
        steps.sort(key=lambda item: (item[1].group, item[1].position))
        return [self._memo(key, row) for key, row in steps]

    def news(self, run_id: UUID, *, everything: bool = False) -> list[Memo]:
        """The waits of a held run that came to an end, or every step that did."""
        waits = self.waits.get(run_id, {})
        steps = [
            (key, row)
            for key, row in self.steps[run_id].items()
            if (
                row.status in ("completed", "failed", "timed_out")
                and (everything or row.waits_for is not None or row.op == "sleep")
            )
            or (row.status == "retrying" and key not in waits)
        ]
        steps.sort(key=lambda item: (item[1].group, item[1].position))
        return [self._memo(key, row) for key, row in steps]

    def _memo(self, key: StepKey, row: StepRow) -> Memo:
        waits = row.status == "retrying" and key in self.waits.get(key.run_id, {})
        return Memo(
            id=key.id,
            index=key.index,
            op=row.op,
            status="waiting" if waits else row.status,
            attempts=row.attempts,
            output=NULL if row.output is None else Raw(row.output),
            error=json.decode_as(row.error, Error) if row.error else None,
            child_run_id=str(row.child) if row.child else None,
            group=row.group,
        )

    # --- one transaction

    def lock(self, arrivals: Sequence[Arrival]) -> dict[UUID, Run]:
        """The runs that arrivals are about, and the parents of those that may end."""
        runs: dict[UUID, Run] = {}
        for arrival in arrivals:
            run_id = arrival.run_id
            row = self.runs.get(run_id)
            if row is None:
                continue
            if run_id not in runs:
                runs[run_id] = self._locked(row)
            if row.run.parent is not None and _may_end(arrival):
                parent_id = row.run.parent.run_id
                if parent_id not in runs:
                    runs[parent_id] = self._locked(self.runs[parent_id])
        return runs

    def decide(
        self, runs: dict[UUID, Run], arrivals: Sequence[Arrival], resumable: frozenset[UUID], room: Counter[UUID]
    ) -> Outcome:
        """Read and decide."""
        known = self._known(runs, arrivals, resumable, room)
        return batch.decide_batch(runs, known, arrivals, self.random.random)

    def _locked(self, row: RunRow) -> Run:
        connection = None if row.run.lease_id is None else self.connections.get(row.run.lease_id)
        if connection is None and row.kept_by is None:
            return row.run
        keeper = None if row.kept_by is None else self.connections.get(row.kept_by)
        return msgspec.structs.replace(row.run, connection=connection, kept_by=row.kept_by, keeper=keeper)

    def _known(
        self, runs: dict[UUID, Run], arrivals: Sequence[Arrival], resumable: frozenset[UUID], room: Counter[UUID]
    ) -> Known:
        steps: dict[StepKey, Step] = {}
        waits: dict[StepKey, Wait] = {}
        signals: dict[tuple[int, str], Signal] = {}
        taken: set[tuple[UUID, str]] = set()
        parked: Counter[UUID] = Counter()
        for arrival in arrivals:
            for key in _step_keys(arrival, runs):
                step = self.steps[key.run_id].get(key)
                if step is not None:
                    steps[key] = Step(step.op, step.status, step.attempts, step.child)
                    wait = self.waits.get(key.run_id, {}).get(key)
                    if wait is not None:
                        waits[key] = Wait(wait.topic, wait.deadline is not None and wait.deadline <= self.now)
            if type(arrival) is EventArrived:
                rows = self.steps[arrival.key.run_id].values()
                if any(row.event_id == arrival.event_id and row.op == "wait_for_event" for row in rows):
                    taken.add((arrival.key.run_id, arrival.event_id))
            elif type(arrival) is FromHolder and type(arrival.message) is RunParked:
                parked[arrival.run_id] = len(self.waits.get(arrival.run_id, ()))
            signal_id = _signal(arrival, waits)
            if signal_id is not None and (row := self.signals.get(signal_id)) is not None:
                signals[1, signal_id] = Signal(row.waiter, row.data, row.delivered, self._expired(row))
        return Known(steps, waits, signals, FUNCTIONS_KNOWN, taken, parked, resumable=resumable, room=room)

    def write(self, outcome: Outcome) -> int:
        """Write what was decided; return the number of the commit that settled steps."""
        group = 0
        self.written.clear()
        if outcome.steps:
            self.group += 1
            group = self.group
            for position, put in enumerate(outcome.steps.values()):
                self._put_step(put, group, position)
        if outcome.effects:
            self._write_waits(outcome)
            self._write_signals(outcome)
            for effect in outcome.effects:
                if type(effect) is StartChild:
                    self.start(effect.function_id, effect.run_id, effect.parent, effect.depth)
                elif type(effect) is Emit:
                    self.accept(effect.event_id, effect.name, effect.data)
        if outcome.changed:
            self.group += 1
            for run_id in outcome.changed:
                self._update_run(outcome.runs[run_id])
        return group

    def _put_step(self, put: PutStep, group: int, position: int) -> None:
        steps = self.steps[put.key.run_id]
        row = steps.get(put.key)
        self.written.setdefault(put.key, row and row.fixed)
        if row is None:
            steps[put.key] = StepRow(
                put.op,
                put.status,
                put.attempts,
                put.output,
                put.error,
                put.child_run_id,
                put.event_id,
                put.waits_for,
                group,
                position,
            )
        elif not row.ended:
            row.error = put.error or (row.error if put.status == "retrying" else None)
            row.status, row.attempts, row.output = put.status, max(put.attempts, row.attempts), put.output
            row.child, row.event_id = put.child_run_id or row.child, put.event_id or row.event_id
            row.waits_for = put.waits_for or row.waits_for
            row.group, row.position = group, position

    def _write_waits(self, outcome: Outcome) -> None:
        parked: dict[StepKey, PutWait] = {}
        for effect in outcome.effects:
            if type(effect) is PutWait:
                parked[effect.key] = effect
            elif type(effect) is DropWait:
                parked.pop(effect.key, None)
                self._drop_wait(effect.key)
        for key, put in parked.items():
            waits = self.waits.setdefault(key.run_id, {})
            assert key not in waits, "the primary key of waits"
            deadline = None if put.seconds is None else self.now + put.seconds
            since = (put.since or self.at(self.now)) if put.match is not None else None
            waits[key] = WaitRow(deadline, put.topic, put.match, since, put.match is not None)

    def _drop_wait(self, key: StepKey) -> None:
        waits = self.waits.get(key.run_id)
        if waits is not None:
            waits.pop(key, None)
            if not waits:
                del self.waits[key.run_id]

    def _write_signals(self, outcome: Outcome) -> None:
        last: dict[str, PutSignal | ReleaseSignal] = {}
        for effect in outcome.effects:
            if isinstance(effect, SIGNALS):
                before = last.get(effect.signal_id)
                if isinstance(before, PutSignal) and before.delivered:
                    row = self.signals[effect.signal_id]
                    row.waiter, row.delivered, row.expires = before.waiter, True, self.now + SIGNAL_KEPT
                last[effect.signal_id] = effect
        for signal_id, effect in last.items():
            row = self.signals.get(signal_id)
            if isinstance(effect, ReleaseSignal):
                if row is not None and not row.delivered:
                    self._free(signal_id, row)
            elif row is None:
                assert not effect.delivered, "a signal is delivered that was never completed"
                self.signals[signal_id] = SignalRow(effect.waiter)
            else:
                row.waiter, row.delivered = effect.waiter, effect.delivered
                row.data = row.data if effect.delivered else None
                row.expires = self.now + SIGNAL_KEPT if effect.delivered else None

    def _free(self, signal_id: str, row: SignalRow) -> None:
        """Nobody waits for it: data that has come is kept."""
        if row.data is None:
            del self.signals[signal_id]
        else:
            row.waiter, row.expires = None, self.now + SIGNAL_KEPT

    def _update_run(self, run: Run) -> None:
        row = self.runs[run.id]
        before = row.run.status
        row.due = self.now + run.due_seconds if run.due_seconds is not None else row.due
        if run.status != "queued":
            row.due = None
        if run.status == "waiting":
            row.kept_by = run.kept_by
        elif not (run.status == "queued" and before != "running"):
            row.kept_by = None
        if run.status == "waiting" and before == "running" and run.kept_by is not None:
            row.kept_group = self.group
        row.output, row.error = run.output, run.error
        row.run = msgspec.structs.replace(
            run, due_seconds=None, kept_by=None, connection=None, keeper=None, output=None, error=None
        )
        if run.ended:
            row.ended_at = self.now
            del self.open[run.id]
            self._close_steps(run.id)

    def _close_steps(self, run_id: UUID) -> None:
        self.waits.pop(run_id, None)
        for signal_id, row in list(self.signals.items()):
            if row.waiter is not None and row.waiter.run_id == run_id and not row.delivered:
                self._free(signal_id, row)
        for key, step in self.steps[run_id].items():
            if not step.ended:
                self.written.setdefault(key, step.fixed)
                self.group += 1
                step.status, step.group = "cancelled", self.group


def _may_end(arrival: Arrival) -> bool:
    if type(arrival) is FromHolder:
        return type(arrival.message) in ENDING
    return type(arrival) in LOSING


def _step_keys(arrival: Arrival, runs: dict[UUID, Run]) -> Sequence[StepKey]:
    """The steps that are read: plain results and beginnings read nothing."""
    if isinstance(arrival, SETTLEMENTS):
        return (arrival.key,)
    if type(arrival) is FromHolder:
        message = arrival.message
        if isinstance(message, READING) or (type(message) is StepDone and message.emit is not None):
            return (StepKey(arrival.run_id, message.id, message.index),)
    if _may_end(arrival):
        run = runs.get(arrival.run_id)
        if run is not None and run.parent is not None:
            return (run.parent,)
    return ()


def _signal(arrival: Arrival, waits: dict[StepKey, Wait]) -> str | None:
    topic: str | None = None
    if type(arrival) is FromHolder:
        message = arrival.message
        if type(message) is StepParked:
            topic = message.topic
        elif type(message) is StepWithdrawn:
            wait = waits.get(StepKey(arrival.run_id, message.id, message.index))
            topic = wait.topic if wait is not None else None
    elif type(arrival) is SignalArrived:
        return arrival.signal_id
    elif type(arrival) is DeadlineReached:
        wait = waits.get(arrival.key)
        topic = wait.topic if wait is not None else None
    return topic.removeprefix("signal:") if topic is not None and topic.startswith("signal:") else None
