"""The model of a holder: executes a program against a record as the SDK does, without asyncio."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal, TypeAlias

import msgspec

from rotor.protocol.json import NULL, Raw
from rotor.protocol.messages import (
    CancelRun,
    Child,
    Committed,
    Emission,
    Error,
    HolderMessage,
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
    StepMessage,
    StepParked,
    StepStarted,
    StepWithdrawn,
)
from rotor.sdk.replay import FINAL, Key, Order
from tests.simulation.programs import ONCE, TRIES, All, Body, Fail, First, Function, Invoke, Send, Signal, Sleep, Wait
from tests.simulation.programs import Run as RunStep

__all__ = ["Call", "Crew", "ModelSession", "encode", "outcome", "signal_name"]

Stage: TypeAlias = Literal["gated", "starting", "running", "sent", "waiting", "lost", "held", "ended"]
State: TypeAlias = Literal["running", "parking", "parked", "ended"]
BOOM = Error(name="BoomError", message="by its author")
INTERRUPTED = Error(name="InterruptedStepError", message="cut off")
MISMATCH = ["mismatch"]


class BoomError(Exception):
    """A body raises."""


def encode(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def outcome(memo: Memo) -> list[Any]:
    """What a step gives its caller, as data."""
    match memo.status:
        case "completed":
            output = msgspec.json.decode(memo.output)
            return ["ok", output["id"] if memo.op == "wait_for_event" else output]
        case "timed_out":
            return ["timed out"]
        case _:
            return ["failed", memo.error.name if memo.error is not None else None]


def signal_name(signal: str, run_id: str) -> str:
    return f"own-{run_id}" if signal == "own" else signal


def _given_up(call: Call) -> Memo:
    error = Error(name="StepCancelledError", message="given up before")
    return Memo(id=call.op.id, index=call.index, op=call.op.op, status="failed", error=error)


class Call:
    """One use of a step."""

    __slots__ = ("attempts", "index", "key", "n", "op", "stage", "task")

    def __init__(self, op: Any, index: int, task: Task) -> None:
        self.op = op
        self.index = index
        self.key: Key = (op.id, index)
        self.task = task
        self.stage: Stage = "gated"
        self.attempts = 0
        self.n = 0
        """The number of the message that was last sent of it."""


class Task:
    """A branch."""

    __slots__ = ("call", "children", "done", "fork", "steps", "value")

    def __init__(self, steps: Generator[Any, Any, list[Any]]) -> None:
        self.steps = steps
        self.call: Call | None = None
        self.fork: All | First | None = None
        self.children: list[Task] = []
        self.done = False
        self.value: Any = None


def _body(body: Body, attempt: int) -> Generator[Any, Any, list[Any]]:
    results = []
    for op in body:
        if type(op) is Fail:
            if attempt < op.times:
                raise BoomError
        else:
            results.append((yield op))
    return results


class Crew:
    """What a session needs of the process that it runs in: a way out, and hands for the bodies of steps."""

    def send(self, session: ModelSession, message: RunMessage) -> None:
        """A message to the server."""

    def begin(self, session: ModelSession, call: Call) -> None:
        """A try of a step's body begins; `session.finish(call, output)` ends it."""

    def moved(self, session: ModelSession) -> None:
        """The session has another state."""


class ModelSession:
    """One run in the hands of a holder."""

    def __init__(self, function: Function, version: int, start: StartRun, crew: Crew, *, keep: bool) -> None:
        self.run_id = start.run_id
        self.lease_id = start.lease_id
        self.state: State = "running"
        self.pending: dict[Key, Call] = {}
        self.cancelling = False
        self.busy = 0
        """Calls whose body runs, or whose outcome is on its way."""
        self.final: RunMessage | None = None
        self._function = function
        self._crew = crew
        self._keep = keep
        self.settled = start.settled
        self._attempt = start.attempt
        self._order = Order(start.memo)
        self._memos: dict[Key, Memo] = {(memo.id, memo.index): memo for memo in start.memo}
        self._uses: dict[str, int] = {}
        self._n = 0
        self._unacknowledged: dict[int, RunMessage] = {}
        self._forks: list[Task] = []
        self._raised = False
        self._root = Task(_body(function.versions[version], start.attempt))

    @property
    def unacknowledged(self) -> list[RunMessage]:
        return list(self._unacknowledged.values())

    def begin(self) -> None:
        self._go(self._root, None)

    def receive(self, message: HolderMessage) -> None:
        if self.state == "ended":
            return
        match message:
            case Committed():
                self._committed(message)
            case Settled():
                if self.state != "parked":
                    self._news(message.memo, message.settled)
            case ResumeRun():
                self._news(message.memo, message.settled)
            case CancelRun():
                if self.final is None and not self.cancelling:
                    self.cancelling = True
            case _:
                raise AssertionError(message)

    def finish(self, call: Call, output: Raw) -> None:
        """The body of a step ends as its id says."""
        fails, retries = TRIES[call.op.id]
        call.stage = "sent"
        step = {"id": call.op.id, "index": call.index, "attempts": call.attempts}
        if call.attempts <= fails:
            self._send(StepFailed, error=BOOM, retries=retries, **step)
        else:
            self._send(StepDone, op="run", output=output, **step)

    def release(self) -> None:
        """The process stops: the run is given back, bodies are cut off."""
        if self.state not in ("parked", "ended") and self.final is None:
            self._leave()
            self._finally(RunReleased)

    def close(self) -> None:
        """Nothing of the session has an effect from now on."""
        self._leave()
        self._move("ended")

    # --- the body

    def _go(self, task: Task, value: Any) -> None:
        """Let a branch run to its next step or fork."""
        while True:
            try:
                op = task.steps.send(value)
            except StopIteration as end:
                task.done, task.value = True, end.value
                return
            except BoomError:
                self._raised = True
                return
            if type(op) is All or type(op) is First:
                task.fork = op
                task.children = [Task(_body(branch, 0)) for branch in op.branches]
                self._forks.append(task)
                for child in task.children:
                    self._go(child, None)
                return
            memo = self._memos.get((op.id, self._uses.get(op.id, 0)))
            if memo is None or memo.op == op.op:
                answered = self._call(task, op, memo)
                if answered is None:
                    return
                value = outcome(answered)
            else:
                value = MISMATCH

    def _call(self, task: Task, op: Any, memo: Memo | None) -> Memo | None:
        """The body asks for a step; a memo where it is answered at once."""
        index = self._uses.get(op.id, 0)
        self._uses[op.id] = index + 1
        call = Call(op, index, task)
        self._memos.pop(call.key, None)
        if memo is not None and memo.status in FINAL:
            if call.key not in self._order:
                return memo
            self._order.ask(call.key)
            call.stage = "held"
        elif memo is not None and memo.status == "cancelled":
            call.stage = "lost"
        elif memo is not None and memo.status == "waiting":
            call.stage, call.attempts = "waiting", memo.attempts
        task.call = self.pending[call.key] = call
        if call.stage == "gated":
            self._open(call, memo)
        return None

    def _open(self, call: Call, memo: Memo | None) -> None:
        """Start a step that is new, or the next try of one."""
        if self.cancelling or self.final is not None:
            return
        if type(call.op) is RunStep:
            again = memo is not None and memo.status == "running"
            call.attempts = (memo.attempts if memo is not None else 0) + (not again)
            if call.op.id == ONCE:
                self._try_once(call, again=again)
            else:
                self._try(call)
        elif type(call.op) is Send:
            call.stage = "sent"
            self.busy += 1
            name = f"{self.run_id}:{call.op.id}:{call.index}"
            emission = Emission(name=call.op.event, data=encode({"k": call.op.value}), id=name)
            self._send(StepDone, id=call.op.id, index=call.index, op="send_event", output=encode(name), emit=emission)
        else:
            call.stage = "waiting"
            self._send(StepParked, id=call.op.id, index=call.index, op=call.op.op, **self._wait(call.op))

    def _try(self, call: Call) -> None:
        call.stage = "running"
        self.busy += 1
        self._crew.begin(self, call)

    def _try_once(self, call: Call, *, again: bool) -> None:
        step = {"id": call.op.id, "index": call.index, "attempts": call.attempts}
        self.busy += 1
        call.stage = "sent" if again else "starting"
        if again:
            self._send(StepFailed, error=INTERRUPTED, retries=0, retriable=False, **step)
        else:
            self._send(StepStarted, at_most_once=True, **step)

    def _wait(self, op: Any) -> dict[str, Any]:
        match op:
            case Sleep():
                return {"seconds": op.seconds}
            case Wait():
                equals = None if op.wants is None else {"data.k": encode(op.wants)}
                return {"seconds": op.seconds, "topic": f"event:{op.event}", "equals": equals}
            case Signal():
                return {"seconds": op.seconds, "topic": f"signal:{signal_name(op.signal, self.run_id)}"}
            case Invoke():
                return {"seconds": op.seconds, "topic": "child", "child": Child(function_id=op.function, data=NULL)}
            case _:
                raise AssertionError(op)

    def rest(self) -> None:
        """Hand out what is next as often as the body comes to rest; then see how it stands.

        What comes in one frame is received before.
        """
        while self.state != "ended" and self.final is None:
            if self._forks:
                self._join()
            if self._raised:
                self._leave()
                self._finally(RunFailed, error=BOOM, retries=self._function.retries, attempt=self._attempt)
                return
            if self._root.done:
                if not self.cancelling:
                    self._finally(RunCompleted, output=encode(self._root.value))
                    return
            elif not self.cancelling and self._lost:
                for call in self._lost:
                    self._hand(_given_up(call))
                continue
            elif self._order.groups and not self.cancelling:
                for memo in self._order.release(lambda key: key[1] < self._uses.get(key[0], 0)):
                    self._hand(memo)
                continue
            if self.cancelling:
                if not self.busy:
                    self._leave()
                    self._finally(RunCancelled)
                return
            if self.state == "running" and not self.busy and self._waits:
                self._parked = self._send(RunParked, settled=self.settled, kept=self._keep)
                self._move("parking")
            return

    @property
    def _waits(self) -> bool:
        return "waiting" in [call.stage for call in self.pending.values()]

    @property
    def _lost(self) -> list[Call]:
        """What was given up before, where nothing else is waited for."""
        if {call.stage for call in self.pending.values()} != {"lost"}:
            return []
        return [self.pending[key] for key in sorted(self.pending)]

    def _join(self) -> None:
        """Forks whose branches are through go on."""
        joined = True
        while joined:
            joined = False
            for task in list(self._forks):
                ended = [child for child in task.children if child.done]
                if not ended or (isinstance(task.fork, All) and len(ended) < len(task.children)):
                    continue
                self._forks.remove(task)
                for child in task.children:
                    if not child.done:
                        self._withdraw(child)
                value = [child.value for child in ended] if isinstance(task.fork, All) else ended[0].value
                task.fork, task.children = None, []
                self._go(task, value)
                joined = True
                break

    def _hand(self, memo: Memo) -> None:
        call = self.pending.pop((memo.id, memo.index), None)
        if call is not None:
            call.stage = "ended"
            call.task.call = None
            self._go(call.task, outcome(memo))

    def _withdraw(self, task: Task) -> None:
        """A branch is cancelled, and those that it waits for."""
        if task in self._forks:
            self._forks.remove(task)
        for child in task.children:
            self._withdraw(child)
        call = task.call
        if call is None or self.pending.get(call.key) is not call:
            return
        del self.pending[call.key]
        self._count_down(call)
        if call.stage in ("waiting", "running", "starting", "sent"):
            self._send(StepWithdrawn, id=call.op.id, index=call.index)
        call.stage = "ended"

    def _count_down(self, call: Call) -> None:
        self.busy -= call.stage in ("running", "starting", "sent")

    def _leave(self) -> None:
        for call in self.pending.values():
            call.stage = "ended"
        self.pending.clear()
        self.busy = 0

    # --- what the server says

    def _committed(self, message: Committed) -> None:
        for n in message.runs[self.run_id]:
            match self._unacknowledged.pop(n, None):
                case None:
                    pass
                case RunParked():
                    if self._keep:
                        self._move("parked")
                    else:
                        self.close()
                case RunCompleted() | RunFailed() | RunCancelled() | RunReleased():
                    self.close()
                case StepDone() | StepFailed() | StepStarted() as sent:
                    self._acknowledged(sent, message.group)
                case _:
                    pass

    def _acknowledged(self, sent: StepMessage, group: int) -> None:
        call = self.pending.get((sent.id, sent.index))
        if call is None or call.n != sent.n or call.stage not in ("sent", "starting"):
            return
        match sent:
            case StepDone():
                done = Memo(
                    id=sent.id,
                    index=sent.index,
                    op=sent.op,
                    status="completed",
                    attempts=sent.attempts,
                    output=sent.output,
                )
                self._settle(done, group)
            case StepFailed():
                self._count_down(call)
                call.stage = "waiting"
            case _:
                self._count_down(call)
                call.stage = "gated"
                if not self.cancelling:
                    self._try(call)

    def _news(self, memos: list[Memo], settled: int) -> None:
        self.settled = settled
        for memo in memos:
            self._settle(memo, memo.group)
        if self.state in ("parking", "parked"):
            if self.state == "parking":
                self._unacknowledged.pop(self._parked.n, None)
            self._move("running")
            for call in list(self.pending.values()):
                if call.stage == "gated":
                    self._open(call, None)

    def _settle(self, memo: Memo, group: int) -> None:
        key = (memo.id, memo.index)
        call = self.pending.get(key)
        asked = memo.index < self._uses.get(memo.id, 0)
        if key in self._order or (call is None and asked) or (call is not None and call.stage == "held"):
            return
        if call is None:
            self._memos[key] = memo
        if memo.status in FINAL:
            if call is not None:
                self._count_down(call)
                call.stage = "held"
            self._order.add(memo, group, asked=asked)
        elif (
            call is not None
            and memo.status == "retrying"
            and memo.attempts >= call.attempts
            and call.stage in ("waiting", "sent")
        ):
            self._count_down(call)
            call.stage = "gated"
            self._open(call, memo)

    # --- sending

    def _send(self, kind: type[Any], **fields: Any) -> Any:
        self._n += 1
        message = kind(run_id=self.run_id, n=self._n, **fields)
        if "id" in fields and (call := self.pending.get((fields["id"], fields["index"]))) is not None:
            call.n = self._n
        self._unacknowledged[self._n] = message
        self._crew.send(self, message)
        return message

    def _finally(self, kind: type[Any], **fields: Any) -> None:
        self.final = self._send(kind, **fields)

    def _move(self, state: State) -> None:
        if self.state != "ended":
            self.state = state
            self._crew.moved(self)
