"""The server's part of one run, in memory: it records steps, settles waits, and moves the clock when nothing else can.

It keeps what a session relies on (`docs/reference/protocol.md`): frames are committed in order, memos are numbered by
commit, and a failed try or body goes on after the server's backoff. Of a run that parks nothing stays in memory: its
body is run from the top again, as it would be on another worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from msgspec.structs import replace

from rotor import limits
from rotor.engine.backoff import delay
from rotor.engine.matching import parse_match
from rotor.errors import ExpressionError
from rotor.protocol import json
from rotor.protocol.json import NULL, Raw
from rotor.protocol.messages import (
    Committed,
    Error,
    Event,
    LogLine,
    Memo,
    RunCompleted,
    RunFailed,
    RunMessage,
    RunParked,
    RunStatus,
    Settled,
    StartRun,
    StepDone,
    StepFailed,
    StepParked,
    StepStarted,
    StepWithdrawn,
)
from rotor.sdk.codec import encode_value
from rotor.sdk.functions import Function
from rotor.sdk.session import Session
from rotor.testing.script import RUN_ID, Happening

__all__ = ["ChildOutcome", "MemoryServer", "Record"]

Key: TypeAlias = tuple[str, int]
ENDED = ("completed", "failed", "cancelled", "timed_out")
NO_JITTER = 0.5


@dataclass(frozen=True)
class ChildOutcome:
    """How an invoked workflow ended, and how long it took by its simulated clock."""

    output: Raw
    error: Error | None = None
    took: timedelta = timedelta()


@dataclass
class Record:
    """One step and its times."""

    memo: Memo
    started_at: datetime
    ended_at: datetime | None = None
    deadline: datetime | None = None
    parked: StepParked | None = None


@dataclass(frozen=True)
class Arrived:
    """Something from outside, with the time at which it arrives."""

    at: datetime
    topic: str
    data: Raw
    id: str

    @property
    def name(self) -> str:
        return self.topic.removeprefix("event:")


@dataclass
class MemoryServer:
    """One run of `function` and its records. `invoke` gives the outcome of each workflow that the run invokes."""

    function: Function[Any, Any]
    event: Event
    invoke: Callable[[str, Any], Awaitable[ChildOutcome]]
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    status: RunStatus = "queued"
    output: Raw = field(default_factory=lambda: NULL)
    error: Error | None = None
    attempt: int = 0
    records: dict[Key, Record] = field(default_factory=dict)
    sent: list[Arrived] = field(default_factory=list)
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8, "rotor-step"))

    def __post_init__(self) -> None:
        self.now = self.started_at
        self._arrivals: list[Arrived] = []
        """What no wait has taken yet."""
        self._answers: list[tuple[datetime, Key, ChildOutcome]] = []
        self._group = 0
        self._settled = 0
        self._again_at: datetime | None = None
        self._session: Session | None = None
        self._frame: list[RunMessage] = []
        self._broken: Exception | None = None

    def expect(self, happenings: Sequence[Happening]) -> None:
        """Take what is to happen outside."""
        for number, one in enumerate(happenings, start=1):
            arrived = Arrived(self.started_at + one.after, one.topic, encode_value(one.data), f"event-{number}")
            self._arrivals.append(arrived)

    async def run(self) -> None:
        """Run the body until the run has ended."""
        while self.status not in ENDED:
            await self._stay()
            if self.status == "waiting":
                await self._ask_children()
                self._move_clock()

    # --- the channel of the session

    def send(self, message: RunMessage | LogLine) -> None:
        """Commit `message` soon, with all that is sent in this turn of the loop."""
        if isinstance(message, LogLine):
            return
        if not self._frame:
            asyncio.get_running_loop().call_soon(self._commit)
        self._frame.append(message)

    async def _stay(self) -> None:
        """One stay of the run with a holder: from the top until it ends or parks."""
        self.status = "running"
        memo = sorted((record.memo for record in self.records.values()), key=lambda memo: memo.group)
        waiting = {key for key, record in self.records.items() if record.deadline is not None}
        self._session = Session(
            self.function,
            StartRun(
                run_id=RUN_ID,
                lease_id="lease",
                function_id=self.function.id,
                attempt=self.attempt,
                event=self.event,
                memo=[one for one in memo if one.status != "retrying" or (one.id, one.index) not in waiting],
                settled=self._settled,
            ),
            self,
            payload_bytes_max=limits.PAYLOAD_BYTES,
            threads=self.threads,
            keep=False,
        )
        self._session.begin()
        await self._session.ended.wait()
        if self._broken is not None:
            raise self._broken

    def _commit(self) -> None:
        assert self._session is not None
        frame, self._frame = self._frame, []
        self._group += 1
        try:
            memos = [memo for message in frame if (memo := self._take(message)) is not None]
        except Exception as error:  # of a match that cannot be judged here; `run` raises it
            self._broken = error
            self._closing = asyncio.get_running_loop().create_task(self._session.close())
            return
        # A holder that parks while something settled is told that instead.
        overtaken = self.status == "running"
        numbers = [one.n for one in frame if one.n and not (overtaken and isinstance(one, RunParked))]
        self._session.receive(Committed(runs={RUN_ID: numbers}, group=self._group))
        if memos:
            self._session.receive(Settled(run_id=RUN_ID, memo=memos, settled=self._settled))

    # --- what a message does

    def _take(self, message: RunMessage) -> Memo | None:
        """Record a message; the memo that its sender is to be told, if any."""
        match message:
            case StepStarted() | StepDone() | StepFailed() | StepParked() | StepWithdrawn():
                known = self.records.get((message.id, message.index))
                if known is None or known.memo.status not in ENDED:
                    return self._take_step(message)
            case RunParked():
                self.status = "waiting" if message.settled == self._settled else "running"
            case RunCompleted():
                self.status, self.output = "completed", message.output
            case RunFailed():
                self._fail(message)
            case _:
                self.status = "cancelled"
        return None

    def _take_step(self, message: StepStarted | StepDone | StepFailed | StepParked | StepWithdrawn) -> Memo | None:
        match message:
            case StepStarted():
                self._put(message, op="run", status="running", attempts=message.attempts)
            case StepDone():
                return self._done(message)
            case StepFailed():
                return self._failed(message)
            case StepParked():
                return self._park(message)
            case StepWithdrawn():
                self._put(message, status="cancelled")
        return None

    def _done(self, message: StepDone) -> Memo | None:
        if message.emit is None:
            self._put(message, op=message.op, status="completed", attempts=message.attempts, output=message.output)
            return None
        at = max(message.emit.ts or self.now, self.now)
        event_id = message.emit.id or f"sent-{len(self.sent) + 1}"
        emitted = Arrived(at, f"event:{message.emit.name}", message.emit.data, event_id)
        self.sent.append(emitted)
        self._arrivals.append(emitted)
        output = Raw(json.encode(event_id))
        return self._put(message, op=message.op, status="completed", attempts=message.attempts, output=output)

    def _failed(self, message: StepFailed) -> Memo | None:
        how = {"op": "run", "attempts": message.attempts, "error": message.error}
        if not message.retriable or message.attempts > message.retries:
            return self._put(message, status="failed", **how)
        self._put(message, status="retrying", **how)
        record = self.records[message.id, message.index]
        record.deadline = self.now + _backoff(message.attempts, message.retry_after_seconds)
        return None

    def _park(self, message: StepParked) -> Memo | None:
        self._put(message, op=message.op, status="waiting", child_run_id="child" if message.child else None)
        record = self.records[message.id, message.index]
        record.deadline = message.until or self.now + timedelta(seconds=message.seconds or 0)
        record.parked = message
        try:
            found = self._find(message)
        except ExpressionError as error:
            self._settled += 1
            return self._put(message, status="failed", error=Error(name="ExpressionError", message=str(error)))
        return self._give(record, found) if found is not None else None

    def _fail(self, message: RunFailed) -> None:
        if not message.retriable or self.attempt >= message.retries:
            self.status, self.error = "failed", message.error
            return
        self.attempt += 1
        self.status = "waiting"
        self._again_at = self.now + _backoff(self.attempt, message.retry_after_seconds)

    def _put(self, step: Any, **fields: Any) -> Memo:
        """Record a step."""
        key = (step.id, step.index)
        record = self.records.get(key)
        if record is None:
            op = fields.pop("op", "run")
            record = self.records[key] = Record(Memo(id=step.id, index=step.index, op=op, status="running"), self.now)
        record.memo = replace(record.memo, group=self._group, **fields)
        record.deadline = None
        if record.memo.status in ENDED:
            record.ended_at = self.now
        return record.memo

    # --- what happens while the run waits

    async def _ask_children(self) -> None:
        """Have each invoked workflow answer once."""
        asked = {key for _, key, _ in self._answers}
        for key, record in list(self.records.items()):
            child = record.parked.child if record.parked else None
            if child is not None and record.memo.status == "waiting" and key not in asked:
                outcome = await self.invoke(child.function_id, json.decode(child.data))
                self._answers.append((self.now + outcome.took, key, outcome))

    def _move_clock(self) -> None:
        """Go on to the next moment at which something happens to the run."""
        while not self._happen():
            pending = [arrived.at for arrived in self._arrivals if arrived.at > self.now]
            pending += [at for at, _, _ in self._answers if at > self.now]
            pending += [record.deadline for record in self.records.values() if record.deadline]
            pending += [self._again_at] if self._again_at else []
            self.now = max(self.now, min(pending))

    def _happen(self) -> bool:
        """Settle the first wait that can be by now, and tell whether there was one."""
        self._group += 1
        if self._again_at is not None and self._again_at <= self.now:
            self._again_at = None
            return True
        waiting = [record for record in self.records.values() if record.deadline is not None]
        for record in waiting:
            if record.parked is not None and (found := self._find(record.parked)) is not None:
                self._give(record, found)
                return True
        for at, key, outcome in self._answers:
            if at <= self.now and self.records[key].deadline is not None:
                status = "failed" if outcome.error else "completed"
                self._settle(self.records[key], status=status, output=outcome.output, error=outcome.error)
                return True
        due = [record for record in waiting if record.deadline is not None and record.deadline <= self.now]
        for record in due[:1]:
            self._expire(record)
        return bool(due)

    def _expire(self, record: Record) -> None:
        if record.memo.op == "run":
            self._settle(record, status="retrying")
        else:
            self._settle(record, status="completed" if record.memo.op == "sleep" else "timed_out")

    def _find(self, parked: StepParked) -> Arrived | None:
        """What has arrived that the wait takes: the earliest."""
        match = None
        if parked.op == "wait_for_event":
            equals = {path: json.decode(value) for path, value in (parked.equals or {}).items()}
            match = parse_match(parked.match, equals)
        for arrived in sorted(self._arrivals, key=lambda arrived: arrived.at):
            too_early = arrived.at < (self.now if parked.since_now else parked.since or self.started_at)
            if arrived.topic == parked.topic and arrived.at <= self.now and not too_early:
                event = {"id": arrived.id, "name": arrived.name, "ts": arrived.at, "data": json.decode(arrived.data)}
                if match is None or match.accepts(event):
                    return arrived
        return None

    def _give(self, record: Record, arrived: Arrived) -> Memo:
        self._arrivals.remove(arrived)
        output = arrived.data
        if record.memo.op == "wait_for_event":
            event = Event(id=arrived.id, name=arrived.name, ts=arrived.at, data=arrived.data)
            output = Raw(json.encode(event))
        return self._settle(record, status="completed", output=output)

    def _settle(self, record: Record, **fields: Any) -> Memo:
        self._settled += 1
        return self._put(record.memo, **fields)


def _backoff(failures: int, seconds: float | None) -> timedelta:
    return delay(failures, jitter=NO_JITTER) if seconds is None else timedelta(seconds=seconds)
