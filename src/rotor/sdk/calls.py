"""The step calls of one run: from the moment the body asks for a step until it is handed what is recorded of it.

A branch that is cancelled inside a call withdraws it: the server then records the step as cancelled. Once the calls
are *sealed* (the body is being unwound), nothing that it does is recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from rotor import limits
from rotor.errors import LimitError
from rotor.protocol.json import Raw
from rotor.protocol.messages import Error, Memo, StepDone, StepFailed, StepMessage, StepOp, StepParked, StepWithdrawn
from rotor.sdk.branches import Branches, Task
from rotor.sdk.call import Answer, Call, Stage, done_memo
from rotor.sdk.misuse import check_id, mismatched, misplaced
from rotor.sdk.outbox import Outbox
from rotor.sdk.place import place
from rotor.sdk.replay import FINAL, Key, Order

__all__ = ["Calls"]

_UNWINDING_CALLS = 1_000
"""Step calls that raise while a body is unwound; the next one blocks, so that a loop that swallows the error ends."""


class Calls:
    """The calls of one run, and what is recorded of its steps."""

    def __init__(
        self,
        memo: list[Memo],
        outbox: Outbox,
        branches: Branches,
        *,
        on_change: Callable[[], None],
        one_by_one: bool,
    ) -> None:
        self.outbox = outbox
        self.branches = branches
        self.order = Order(memo)
        self.pending: dict[Key, Call] = {}
        self.counts: dict[Stage, int] = dict.fromkeys(
            ("new", "gated", "running", "sent", "waiting", "lost", "held", "ended"), 0
        )
        self.admitting = True
        self.frozen = False
        """No result is handed out any more: the run is being stopped."""
        self.sealed = False
        self.replaying = bool(memo)
        """Nothing new has been asked for yet."""
        self._memos: dict[Key, Memo] = {(one.id, one.index): one for one in memo}
        self._uses: dict[str, int] = {}
        self._steps = 0
        self._unwinding_calls = 0
        self._gate: list[Call] = []
        self._withdrawn: list[Key] = []
        self.loop = asyncio.get_running_loop()
        self._on_change = on_change
        self._one_by_one = one_by_one

    # --- for steps

    def open(self, id: str, op: StepOp) -> Call:
        """The body asks for step `id`. The call is `ended` at once where its result is next in order and no other
        branch is there to interfere.

        Raises `NonRetriableError` where a step cannot be called, `LimitError`, and `StepMismatchError`.
        """
        task = asyncio.current_task()
        if task is None or place.get() is not self.branches or task.get_loop() is not self.loop:
            raise misplaced(id, op)
        check_id(id, op)
        if self.sealed:
            return self._open_sealed(id, op, task)
        self.branches.add(task)  # an eager task calls steps before its factory has returned it
        index = self._uses.get(id, 0)
        key = (id, index)
        memo = self._memos.get(key)
        if memo is not None and memo.op != op:
            raise mismatched(memo, op)
        self._steps += 1
        if self._steps > limits.STEPS_PER_RUN:
            raise LimitError(f"the run has called more than {limits.STEPS_PER_RUN:,} steps (STEPS_PER_RUN)")
        self._uses[id] = index + 1
        self._memos.pop(key, None)
        call = Call(id=id, index=index, key=key, op=op, task=task, memo=memo)
        self._begin(call)
        return call

    async def take(self, id: str, op: StepOp, report: Callable[[Call], None]) -> Memo:
        """What is recorded of step `id`, which has no body: if it is new, `report` tells the server of it."""
        call = self.open(id, op)
        if call.stage != "ended":
            try:
                if call.stage == "new":
                    if not self.admits:
                        await self.admission(call)
                    report(call)
                call.memo = await self.settlement(call)
            except asyncio.CancelledError:
                self.withdraw(call)
                raise
            finally:
                self.close(call)
        assert call.memo is not None
        return call.memo

    async def admission(self, call: Call) -> None:
        """Return when a step may start. While the body is unwound: raises `CancelledError`."""
        if self.sealed:
            if self._unwinding_calls <= _UNWINDING_CALLS:
                raise asyncio.CancelledError
            await self._answer(call)
        while not self.admitting:
            self.move(call, "gated")
            self._gate.append(call)
            await self._answer(call)
            self.move(call, "new")

    @property
    def admits(self) -> bool:
        """Whether a step may start right now."""
        return self.admitting and not self.sealed

    def settlement(self, call: Call) -> Awaitable[Memo]:
        """What the server next has to say of the step."""
        return self._answer(call)

    def acknowledgement(self, call: Call) -> Awaitable[Memo | None]:
        """Done when what was sent of the step is durable; with a memo where it was refused."""
        return self._answer(call)

    def report(self, call: Call, kind: type[StepMessage], **fields: Any) -> None:
        """Tell the server of a step, which then waits for the acknowledgement."""
        self.move(call, "sent")
        call.sent = self.outbox.send(kind, id=call.id, index=call.index, **fields).n

    def report_done(self, call: Call, output: Raw, *, attempts: int, elapsed_ms: int) -> None:
        """`report` of the result of a step's body: nearly all that is ever said."""
        self.move(call, "sent")
        outbox = self.outbox
        call.sent = outbox.next_number()
        outbox.post(
            StepDone(
                run_id=outbox.run_id,
                n=call.sent,
                id=call.id,
                index=call.index,
                op="run",
                output=output,
                attempts=attempts,
                elapsed_ms=elapsed_ms,
            )
        )

    def move(self, call: Call, stage: Stage) -> None:
        self.counts[call.stage] -= 1
        self.counts[stage] += 1
        call.stage = stage
        # Whoever stops the run waits for its bodies to end. And a wait is sent with what is seen to follow from it.
        if self.frozen or stage == "waiting":
            self._on_change()

    def withdraw(self, call: Call) -> None:
        """The body has given the call up."""
        if call.stage in ("waiting", "running", "sent") and not self.sealed:
            self._withdrawn.append(call.key)
            if self.admitting:
                self._send_withdrawn()

    def close(self, call: Call) -> None:
        """The call is over, whichever way."""
        if self.pending.get(call.key) is call:
            del self.pending[call.key]
        if call.inside:
            self._leave(call)
        call.answer = None  # which knows the call: its result is freed as soon as the body lets go of it
        self.counts[call.stage] -= 1
        self._on_change()

    # --- for the session

    @property
    def unsettled(self) -> bool:
        """Whether anything is there to be handed out, or waits durably, while the run is ours to go on with."""
        counts = self.counts
        return self.admitting and (counts["waiting"] > 0 or counts["lost"] > 0 or bool(self.order.groups))

    @property
    def busy(self) -> bool:
        """Whether a step's body runs, or its outcome is on its way to the server."""
        return self.counts["running"] + self.counts["sent"] > 0

    def acknowledged(self, messages: Iterable[StepMessage], group: int) -> None:
        """`messages` are durable since commit `group`."""
        for message in messages:
            call = self.pending.get((message.id, message.index))
            if call is None or call.stage != "sent" or call.sent != message.n:
                continue
            if isinstance(message, StepDone):
                if self._is_alone:
                    self.move(call, "ended")
                    self._hand(call, done_memo(message))
                    self._note_progress()
                else:
                    self._settle(done_memo(message), group)
            elif isinstance(message, StepFailed):
                self.move(call, "waiting")  # its backoff runs, unless the server says otherwise
            else:
                self._hand(call, None)

    def settled(self, memos: Iterable[Memo]) -> None:
        """The server says what came of steps."""
        for memo in memos:
            self._settle(memo, memo.group)

    def refused(self, message: StepMessage, error: Error) -> None:
        """The server did not take `message`, and nothing of it is recorded."""
        op = message.op if isinstance(message, StepDone | StepParked) else "run"
        self._settle(Memo(id=message.id, index=message.index, op=op, status="failed", error=error), 0)

    def release(self) -> None:
        """Hand out the next group."""
        one_by_one = self._one_by_one and self.order.complete
        for memo in self.order.release_one() if one_by_one else self.order.release(self._asked):
            call = self.pending.get((memo.id, memo.index))
            if call is not None:
                self.move(call, "ended")
                self._hand(call, memo)
        self._note_progress()

    def open_gate(self) -> None:
        """Steps may start."""
        self.admitting = True
        self._send_withdrawn()
        gated, self._gate = self._gate, []
        for call in gated:
            if call.stage == "gated":
                self._hand(call, None)

    def shut_gate(self) -> None:
        """No step starts until `open_gate`."""
        self.admitting = False

    def seal(self) -> None:
        """The body is left: nothing that it does is recorded, and the session is told nothing more."""
        self.sealed = self.frozen = True
        self._on_change = _nothing

    @property
    def only_lost(self) -> bool:
        """Whether all that the body waits for are steps that it, or an earlier version of it, has given up.

        This heeds nothing but what the body has asked for, so it is told at the same point of every replay, however
        much has been recorded after it.
        """
        return self.admitting and 0 < self.counts["lost"] == len(self.pending)

    def fail_lost(self) -> None:
        """Say so to whoever waits for these steps: nothing else is to come."""
        lost = sorted(self.pending.values(), key=lambda call: call.key)
        for call in lost[:1] if self._one_by_one else lost:
            error = Error(
                name="StepCancelledError",
                message=f"step {call.id!r} was given up when this run came here before, and is waited for now: "
                "the code has changed, or did not do the same again",
            )
            self.move(call, "ended")
            self._hand(call, Memo(id=call.id, index=call.index, op=call.op, status="failed", error=error))

    # --- within

    def _begin(self, call: Call) -> None:
        self.counts["new"] += 1
        if call.memo is None:
            self.replaying = False
        elif call.memo.status in FINAL and self._is_next(call):
            self.move(call, "ended")
            self.counts["ended"] -= 1
            self._note_progress()
            return
        self.pending[call.key] = call
        if call.memo is not None:
            self._resume(call, call.memo)
        self._enter(call)
        self._on_change()

    def _is_next(self, call: Call) -> bool:
        """Whether what is recorded of `call` may be handed out on the spot."""
        if call.key not in self.order:
            return not self.frozen
        alone = 2 if self._one_by_one else 1  # the task that waits for the handler's thread is there, too
        if self.frozen or len(self.branches.live) > alone:
            return False
        self.order.release_until(call.key)
        return True

    @property
    def _is_alone(self) -> bool:
        """Whether the body is one task inside one call, with nothing to hand out before: nobody else is to wake."""
        return (
            len(self.pending) == 1
            and len(self.branches.live) == 1
            and not self.order.groups
            and not self.frozen
            and not self._one_by_one
        )

    def _resume(self, call: Call, memo: Memo) -> None:
        """Take the call to where the record says it is."""
        if memo.status in FINAL:
            if call.key in self.order:
                self.order.ask(call.key)
            self.move(call, "held")
        elif memo.status == "cancelled":
            self.move(call, "lost")
        elif memo.status == "waiting":
            self.move(call, "waiting")

    def _open_sealed(self, id: str, op: StepOp, task: Task) -> Call:
        self._unwinding_calls += 1
        call = Call(id=id, index=0, key=(id, 0), op=op, task=task)
        self.counts["new"] += 1
        return call

    def _answer(self, call: Call) -> Awaitable[Any]:
        call.answer = answer = Answer(call, self._leave, self.loop)
        call.untimed = False
        self._enter(call)
        return answer

    def _enter(self, call: Call) -> None:
        if not call.inside:
            call.inside = True
            self.branches.enter(call.task)

    def _leave(self, call: Call) -> None:
        if call.inside:
            call.inside = False
            self.branches.leave(call.task)

    def _hand(self, call: Call, memo: Memo | None) -> None:
        if memo is not None:
            call.memo = memo
        if call.answer is not None and not call.answer.done():
            self._leave(call)
            call.answer.set_result(memo)

    def _settle(self, memo: Memo, group: int) -> None:
        key = (memo.id, memo.index)
        call = self.pending.get(key)
        asked = self._asked(key)
        if key in self.order or (call is None and asked) or (call is not None and call.stage in ("held", "ended")):
            return  # told before, or given up
        if call is None:
            self._memos[key] = memo
        if memo.status in FINAL:
            if call is not None:
                self.move(call, "held")
            self.order.add(memo, group, asked=asked)
        elif call is not None and memo.status == "waiting":
            self.move(call, "waiting")
        elif call is not None and memo.status == "retrying" and memo.attempts >= call.attempts:
            self.move(call, "sent")  # until its body runs again
            self._hand(call, memo)

    def _asked(self, key: Key) -> bool:
        """Whether the body has called the step."""
        return key[1] < self._uses.get(key[0], 0)

    def _send_withdrawn(self) -> None:
        withdrawn, self._withdrawn = self._withdrawn, []
        for step_id, index in withdrawn:
            self.outbox.send(StepWithdrawn, id=step_id, index=index)

    def _note_progress(self) -> None:
        if self.replaying and not self._memos and not self.order.groups:
            self.replaying = False


def _nothing() -> None:
    """Stands for the call-back of a session whose body is left."""
