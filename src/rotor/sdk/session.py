"""One run's body, executed against what is recorded of it and a channel to the server.

The states of a session:

    running --RunParked sent--> parking --Committed--> parked --ResumeRun--> running
               parking --Settled--> running      (the server has settled more: still ours)
    running --RunCompleted, RunFailed, RunCancelled or RunReleased sent, and Committed--> ended
    any --DropRun, close()--> ended

A parked session holds no lease: what its body does meanwhile (which only call-backs that no branch waits for can
bring about) is kept back until the run is resumed. A body is left by *unwinding* it: from then on nothing that it does
is recorded, each of its tasks is cancelled, and a step that it calls raises `CancelledError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from rotor.errors import RetryAfterError
from rotor.protocol.messages import (
    CancelRun,
    Committed,
    DropRun,
    HolderMessage,
    Memo,
    Refused,
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
    StepMessage,
    StepParked,
)
from rotor.sdk.bodies import Bodies, encode_payload
from rotor.sdk.branches import Branches, Task, track_tasks
from rotor.sdk.calls import Calls
from rotor.sdk.codec import error_of
from rotor.sdk.context import Context, SyncContext
from rotor.sdk.functions import Function
from rotor.sdk.logger import RunLogger
from rotor.sdk.outbox import Channel, Outbox
from rotor.sdk.outcomes import NOT_RETRIABLE, read_event
from rotor.sdk.place import call_outside
from rotor.sdk.spans import RunSpans
from rotor.sdk.steps import Step
from rotor.sdk.sync_steps import SyncStep
from rotor.sdk.threads import HandlerThreads
from rotor.sdk.unwinding import cancel_branches, is_unwound, unwind
from rotor.sdk.watch import Watch

__all__ = ["Session", "State"]

State: TypeAlias = Literal["running", "parking", "parked", "ended"]
Ending: TypeAlias = tuple[type[RunCompleted | RunFailed], dict[str, Any]]

_following: set[asyncio.Task[None]] = set()
"""What sessions do outside of their workflows: an event loop keeps no task alive."""


class Session:
    """Executes one run. It lives on one event loop: make it there, then `begin()`.

    `keep` is whether a parked body may stay in memory; that of a plain `def` never does. `on_state_change` is called
    with the session after each change of `state`.
    """

    def __init__(
        self,
        function: Function[Any, Any],
        start: StartRun,
        channel: Channel,
        *,
        payload_bytes_max: int,
        threads: Executor,
        keep: bool = True,
        on_state_change: Callable[[Session], None] | None = None,
    ) -> None:
        self.run_id = start.run_id
        self.state: State = "running"
        self.ended = asyncio.Event()
        self.on_state_change = on_state_change
        self._function = function
        self._event = start.event
        self._attempt = start.attempt
        self._settled = start.settled
        self._keep = keep and function.is_async
        self._payload_bytes_max = payload_bytes_max
        self._outbox = Outbox(start.run_id, channel)
        self._watch = Watch(self._park)
        self._branches = Branches(start.run_id, self._watch.task_finished)
        self._calls = Calls(
            start.memo, self._outbox, self._branches, on_change=self._changed, one_by_one=not function.is_async
        )
        self._spans = RunSpans(start)
        self._bodies = Bodies(
            self._calls,
            threads,
            retries=function.spec.retries,
            payload_bytes_max=payload_bytes_max,
            spans=self._spans,
        )
        self._name = f"rotor run {start.run_id}"
        self._threads = None if function.is_async else HandlerThreads(self._name, self._watch.stir)
        self._parked: RunParked | None = None
        self._ending: Ending | None = None
        self._is_final = False
        """The message that ends the run here has been sent."""
        self._stopping = False
        self._cancelled: Collection[Task] = ()
        """The branches that were cancelled when the body was left."""
        self._drained: asyncio.Event | None = None

    @property
    def settled(self) -> int:
        """How many settled waits the server has told of."""
        return self._settled

    @property
    def unacknowledged(self) -> list[RunMessage]:
        """What has been sent and not been acknowledged, in order: to be sent again after a lost connection."""
        return self._outbox.unacknowledged

    def begin(self) -> None:
        """Start the body on the running loop."""
        track_tasks(asyncio.get_running_loop())
        self._spans.begin()
        self._watch.start(self._calls, self._threads)
        self._branches.start(self._body(), self._name)

    def receive(self, message: HolderMessage) -> None:
        """Take what the server says of the run since its `StartRun`."""
        match message:
            case Committed():
                self.committed(message.runs.get(self.run_id, ()), message.group)
            case Settled():
                if self.state != "parked":  # else the run is another holder's matter until it is resumed
                    self._news(message.memo, message.settled)
            case Refused():
                self._refused(message)
            case CancelRun():
                self._cancel()
            case DropRun():
                self._follow(self.close())
            case ResumeRun():
                self._news(message.memo, message.settled)

    def stop_steps(self) -> None:
        """Start no further step; bodies of steps in flight go on, and their outcomes are sent."""
        self._stopping = True
        self._calls.shut_gate()
        self._calls.frozen = True

    async def release(self, *, grace_seconds: float = 0) -> None:
        """Give the run back unfinished, once the bodies of its steps have ended or the grace is over."""
        if self.state in ("parked", "ended") or self._is_final:
            return
        self.stop_steps()
        await self._drain(acknowledged=False, timeout_seconds=grace_seconds)
        await self._unwind()
        self._send_final(RunReleased)

    def leave(self) -> None:
        """Begin to unwind the body: from now on nothing that it does is recorded."""
        self._calls.seal()
        if self._drained is not None:
            self._drained.set()
        self._watch.stop()
        self._bodies.stop()
        if self._threads is not None:
            self._threads.suspend()
        if not self._cancelled:
            self._cancelled = cancel_branches(self._branches)

    def has_left(self) -> bool:
        """Whether the body that is left has ended; so has the session then."""
        if is_unwound(self._branches, self._cancelled):
            self._move("ended")
        return self.state == "ended"

    async def close(self) -> None:
        """Unwind the body without effect: nothing of it is sent, no body of a step runs."""
        if self.state != "ended":
            await self._unwind()
            self._move("ended")

    # --- the body

    async def _body(self) -> None:
        try:
            result = await self._handle()
            what = f"the result of function {self._function.id!r}"
            ending: Ending = RunCompleted, {"output": encode_payload(result, self._payload_bytes_max, what)}
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            if self._is_left:  # to describe an error takes longer than all else about a run that is unwound
                return
            ending = RunFailed, self._failure(error)
        if self._is_left:
            return
        await self._unwind()
        self._ending = ending
        self._end()

    @property
    def _is_left(self) -> bool:
        """Whether nothing of the body counts any more."""
        return self._calls.sealed or self._stopping

    def _handle(self) -> Any:
        """Call the author's function; what it returns is to be awaited."""
        function = self._function
        event = read_event(self._event, function.data_type, f"function {function.id!r}")
        step = Step(self._calls, self._bodies)
        who: dict[str, Any] = {
            "run_id": self.run_id,
            "function_id": function.id,
            "attempt": self._attempt,
            "logger": RunLogger(function.id, self._calls),
        }
        if self._threads is None:
            return function.handler(Context(event, step, **who))
        blocking = SyncContext(event, SyncStep(step, self._threads), **who)
        return self._threads.run(partial(function.handler, blocking))

    def _failure(self, error: BaseException) -> dict[str, Any]:
        after = error.retry_after.total_seconds() if isinstance(error, RetryAfterError) else None
        return {
            "error": error_of(error),
            "retries": self._function.spec.retries,
            "retriable": not isinstance(error, NOT_RETRIABLE),
            "retry_after_seconds": after,
            "attempt": self._attempt,
        }

    def _end(self) -> None:
        """Send how the body ended, unless the run is not ours at the moment."""
        if self._ending is not None and self.state == "running":
            kind, fields = self._ending
            self._send_final(kind, **fields)

    async def _unwind(self) -> None:
        self.leave()
        await unwind(self._branches, self.run_id, self._cancelled)

    # --- what the server says

    def committed(self, numbers: Iterable[int], group: int) -> None:
        """What was sent with these numbers is durable since commit `group`."""
        steps: list[StepMessage] = []
        for n in numbers:
            sent = self._outbox.acknowledge(n)
            match sent:
                case StepDone():
                    steps.append(sent)
                case None | StepParked():  # whose call waits already
                    continue
                case RunParked():
                    self._set_parked()
                case RunCompleted() | RunFailed() | RunCancelled() | RunReleased():
                    if self._branches.live or self._threads is not None:
                        self._follow(self.close())
                    else:
                        self._move("ended")
                case _:
                    steps.append(sent)
        self._calls.acknowledged(steps, group)
        self._watch.look_soon()

    def _news(self, memos: Iterable[Memo], settled: int) -> None:
        self._settled = settled
        self._calls.settled(memos)
        self._go_on()

    def _refused(self, message: Refused) -> None:
        sent = self._outbox.acknowledge(message.n)
        match sent:
            case None:
                return
            case RunParked():
                self._parked = None
                self._move("running")
                self._watch.look_later()
            case RunCompleted():
                self._send_final(RunFailed, error=message.error, retries=0, retriable=False)
            case RunFailed() | RunCancelled() | RunReleased():
                self._follow(self.close())
            case _:
                self._calls.refused(sent, message.error)
                self._go_on()

    def _go_on(self) -> None:
        """The run is ours, and has news."""
        if self._parked is not None:
            self._outbox.acknowledge(self._parked.n)
            self._parked = None
        if self.state in ("parking", "parked"):
            self._move("running")
        self._watch.look_soon()

    # --- parking and stopping

    def _park(self) -> None:
        """Every branch waits durably."""
        self._calls.shut_gate()
        self._parked = self._outbox.send(RunParked, settled=self._settled, kept=self._keep)
        self._move("parking")

    def _set_parked(self) -> None:
        self._parked = None
        if self._stopping:
            return
        if self._keep:
            self._move("parked")
        else:
            self._follow(self.close())

    def _cancel(self) -> None:
        if self.state != "ended" and not self._is_final and not self._stopping:
            self.stop_steps()
            self._follow(self._finish_cancelling())

    async def _finish_cancelling(self) -> None:
        await self._drain(acknowledged=True)
        if not self._calls.sealed:  # else the session was closed meanwhile
            await self._unwind()
            self._send_final(RunCancelled)

    async def _drain(self, *, acknowledged: bool, timeout_seconds: float | None = None) -> None:
        """Return when no body of a step runs; `acknowledged`: and the outcome of each is durable. Or when the body is
        unwound, after which nothing of it will be."""
        counts = self._calls.counts
        self._drained = self._drained or asyncio.Event()
        try:
            async with asyncio.timeout(timeout_seconds):
                while not self._calls.sealed and (counts["running"] or (acknowledged and counts["sent"])):
                    self._drained.clear()
                    await self._drained.wait()
        except TimeoutError:
            return

    def _changed(self) -> None:
        self._watch.stir()
        if self._drained is not None:
            self._drained.set()

    def _send_final(self, kind: type[RunMessage], **fields: Any) -> None:
        if self.state != "ended":
            self._is_final = True
            self._outbox.send(kind, **fields)

    def _move(self, state: State) -> None:
        if self.state == "ended":
            return
        self.state = state
        if state == "running":
            self._spans.begin()
            if not self._stopping:
                self._calls.open_gate()
            self._end()
        if state in ("parked", "ended"):
            self._end_stay()
        if state == "ended":
            self.ended.set()
        if self.on_state_change is not None:
            call_outside(self.on_state_change, self)
        if state == "ended":
            self._ending = None

    def _end_stay(self) -> None:
        if self.state == "ended" and self._ending is not None:
            kind, fields = self._ending
            failed = fields["error"].name if kind is RunFailed else None
            self._spans.end("failed" if failed else "completed", failed)
        else:
            self._spans.end("parked" if self.state == "parked" else "left")

    def _follow(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` outside of the workflow."""
        task = asyncio.get_running_loop().create_task(work, context=self._branches.neutral.copy())
        _following.add(task)
        task.add_done_callback(_following.discard)


FINAL_MESSAGES: Final = (RunCompleted, RunFailed, RunParked, RunCancelled, RunReleased)
"""What ends a session's hold on its run."""
