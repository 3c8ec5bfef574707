"""A server in memory for one run: it commits what a session sends, settles waits on demand, and can lose the holder.

It keeps the promises of the protocol that a session relies on: frames are committed in order, one commit a turn of the
loop; memos are numbered by commit; a parked run goes on with what changed, or from the top with everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from rotor.protocol import json, messages
from rotor.protocol.json import Raw
from rotor.protocol.messages import (
    CancelRun,
    Committed,
    Error,
    HolderMessage,
    HolderSays,
    LogLine,
    Memo,
    ResumeRun,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunMessage,
    RunParked,
    RunReleased,
    Settled,
    StartRun,
    StepDone,
    StepFailed,
    StepParked,
    StepStarted,
    StepWithdrawn,
)
from rotor.sdk.functions import Function
from rotor.sdk.session import Session

RUN = "0198c0de-0000-7000-8000-000000000001"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FINAL = ("completed", "failed", "cancelled", "timed_out")


def raw(value: Any) -> Raw:
    return Raw(json.encode(value))


@dataclass
class FakeServer:
    """One run and its records."""

    function: Function[Any, Any]
    data: Any = None
    steps: dict[tuple[str, int], Memo] = field(default_factory=dict)
    waits: dict[tuple[str, int], StepParked | None] = field(default_factory=dict)
    frames: list[list[HolderSays]] = field(default_factory=list)
    """Everything that was sent, by frame."""
    status: str = "queued"
    output: Any = None
    error: Error | None = None
    attempt: int = 0
    settled: int = 0
    group: int = 0
    keep: bool = True
    payload_bytes_max: int = 1_000_000
    paused: bool = False
    """Frames are kept back, as on a slow line."""
    session: Session | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8))
    on_frame: Callable[[list[HolderSays]], None] | None = None
    _frame: list[HolderSays] = field(default_factory=list)

    # --- the holder's side

    def send(self, message: HolderSays) -> None:
        if not self._frame:
            asyncio.get_running_loop().call_soon(self._flush)
        self._frame.append(message)

    def _flush(self) -> None:
        frame, self._frame = self._frame, []
        decoded = messages.run_frame.decode(msgspec.json.encode(frame))
        self.frames.append(decoded)
        if not self.paused:
            asyncio.get_running_loop().call_soon(self._commit, decoded, self.session)

    def resume_commits(self, frames: int) -> None:
        """Commit the last `frames` frames, and no longer pause."""
        self.paused = False
        for frame in self.frames[-frames:] if frames else []:
            self._commit(frame, self.session)

    # --- running

    def start(self) -> Session:
        """Claim the run: go on from memory where a session keeps it, else from the top."""
        self.status = "running"
        resume = self.session is not None and self.session.state == "parked"
        since = self.parked_group if resume else -1
        news = sorted((memo for memo in self.steps.values() if memo.group > since), key=lambda memo: memo.group)
        memo = [one for one in news if one.status != "retrying" or (one.id, one.index) not in self.waits]
        if resume:
            assert self.session is not None
            self.session.receive(ResumeRun(run_id=RUN, memo=memo, settled=self.settled))
            return self.session
        event = messages.Event(id="event-1", name="started", data=raw(self.data), ts=NOW)
        message = StartRun(
            run_id=RUN,
            lease_id="lease",
            function_id=self.function.id,
            attempt=self.attempt,
            event=event,
            memo=memo,
            settled=self.settled,
        )
        self.session = Session(
            self.function,
            message,
            self,
            payload_bytes_max=self.payload_bytes_max,
            threads=self.threads,
            keep=self.keep,
            on_state_change=lambda _: self.changed.set(),
        )
        self.session.begin()
        return self.session

    async def run(self) -> str:
        """Start, and return the run's status once it has ended or is parked."""
        self.start()
        return await self.rest()

    async def rest(self) -> str:
        """The run's status once it has ended or is parked, and the session knows."""
        async with asyncio.timeout(60):
            while self.status == "running" or (self.session and self.session.state in ("running", "parking")):
                self.changed.clear()
                await self.changed.wait()
        return self.status

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition` holds."""
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110  (whatever makes it hold does not know)
                await asyncio.sleep(0)

    async def lose(self) -> None:
        """The holder dies: nothing that it does from now on counts."""
        session, self.session = self.session, None
        self.status = "queued" if self.status == "running" else self.status
        if session is not None:
            await session.close()

    # --- what happens outside

    def settle(self, id: str, index: int = 0, *, status: str = "completed", output: Any = None, **fields: Any) -> None:
        """A wait comes to its end."""
        self.settle_all([(id, index)], status=status, output=output, **fields)

    def settle_all(
        self, keys: list[tuple[str, int]], *, status: str = "completed", output: Any = None, **fields: Any
    ) -> None:
        """Waits come to their end in one commit."""
        self.group += 1
        memos = []
        for key in keys:
            self.waits.pop(key)
            before = self.steps[key]
            memo = msgspec.structs.replace(before, status=status, output=raw(output), group=self.group, **fields)
            self.steps[key] = memo
            memos.append(memo)
            self.settled += 1
        if self.status == "running":
            self._tell([Settled(run_id=RUN, memo=memos, settled=self.settled)])
        else:
            self.status = "queued"

    def cancel(self) -> None:
        self._tell([CancelRun(run_id=RUN)])

    # --- the committer

    def _commit(self, frame: list[HolderSays], session: Session | None) -> None:
        if session is None or session is not self.session or self.status != "running":
            return
        if all(isinstance(message, LogLine) for message in frame):
            return
        self.group += 1
        numbers: list[int] = []
        memos: list[Memo] = []
        for message in frame:
            if not isinstance(message, LogLine):
                self._take(message, numbers, memos)
        answer: list[HolderMessage] = []
        if numbers:
            answer.append(Committed(runs={RUN: numbers}, group=self.group))
        if memos:
            answer.append(Settled(run_id=RUN, memo=memos, settled=self.settled))
        self._tell(answer)
        if self.on_frame is not None:
            self.on_frame(frame)
        self.changed.set()

    def _tell(self, answer: list[HolderMessage]) -> None:
        assert self.session is not None
        for message in answer:
            self.session.receive(message)

    def _take(self, message: RunMessage, numbers: list[int], memos: list[Memo]) -> None:  # noqa: PLR0912
        match message:
            case StepStarted():
                self._put(message, "run", "running", attempts=message.attempts)
                if message.n:
                    numbers.append(message.n)
                return
            case StepDone():
                self._put(message, message.op, "completed", attempts=message.attempts, output=message.output)
            case StepFailed():
                self._failed(message, memos)
            case StepParked():
                self._put(message, message.op, "waiting", child_run_id="child-run" if message.child else None)
                self.waits[message.id, message.index] = message
            case StepWithdrawn():
                key = (message.id, message.index)
                if key not in self.steps or self.steps[key].status not in FINAL:
                    op = self.steps[key].op if key in self.steps else "run"
                    self._put(message, op, "cancelled")
                    self.waits.pop(key, None)
            case RunParked():
                if message.settled != self.settled:
                    return
                self.status, self.parked_group = "waiting", self.group
            case RunCompleted():
                self.status, self.output = "completed", json.decode(message.output)
            case RunFailed():
                self.status, self.error = "failed", message.error
            case RunCancelled():
                self.status = "cancelled"
            case RunReleased():
                self.status = "queued"
        numbers.append(message.n)

    def _failed(self, message: StepFailed, memos: list[Memo]) -> None:
        if message.retriable and message.attempts <= message.retries:
            self._put(message, "run", "waiting", attempts=message.attempts, error=message.error)
            self.waits[message.id, message.index] = None
        else:
            self._put(message, "run", "failed", attempts=message.attempts, error=message.error)
            memos.append(self.steps[message.id, message.index])

    def _put(self, message: Any, op: Any, status: Any, **fields: Any) -> None:
        key = (message.id, message.index)
        if key in self.steps and self.steps[key].status in FINAL:
            return
        self.steps[key] = Memo(id=message.id, index=message.index, op=op, status=status, group=self.group, **fields)

    parked_group: int = -1

    @property
    def sent(self) -> list[RunMessage]:
        return [message for frame in self.frames for message in frame]
