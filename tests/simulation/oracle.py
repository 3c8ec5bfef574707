"""Knows what is right: checked after every commit, and once all runs have ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from uuid_utils import UUID

from rotor.engine.arrivals import Arrival, Cancelled, FromHolder, HolderLost
from rotor.engine.batch import Outcome
from rotor.engine.effects import Emit, PutSignal, PutStep, PutWait, StartChild
from rotor.engine.matching import Candidate
from rotor.engine.run import Run, StepKey
from rotor.engine.states import RUN_CHANGES, STEP_CHANGES, STEP_ENDED
from rotor.protocol import json
from rotor.protocol.json import NULL, Raw
from rotor.protocol.messages import (
    CancelRun,
    HolderMessage,
    ResumeRun,
    RunCompleted,
    RunFailed,
    RunMessage,
    RunStatus,
    StartRun,
)
from tests.simulation.programs import ONCE, TRIES, Fail, Program
from tests.simulation.records import EventRow, Records, RunRow, StepRow, WaitRow

__all__ = ["Oracle", "Replay", "ViolationError"]

Replay: TypeAlias = Callable[[StartRun, int], list[RunMessage]]
"""What a body of this version of the code says that goes through a whole record."""
NO_WAITS: Final[dict[StepKey, WaitRow]] = {}


class ViolationError(AssertionError):
    """A promise was broken."""


def require(holds: object, what: str, *about: object) -> None:
    if not holds:
        raise ViolationError(f"{what}: {', '.join(map(str, about))}")


class Before(NamedTuple):
    """What stood before a commit."""

    runs: dict[UUID, Run]
    waits: dict[StepKey, WaitRow]
    """Of the steps that it writes."""


class Oracle:
    """The judge of one world."""

    def __init__(self, records: Records, program: Program, replay: Replay) -> None:
        self._replay = replay
        self._records = records
        self._program = program
        self._executions: dict[int, Any] = {}
        self._by_try: dict[tuple[StepKey, int], list[Any]] = {}
        self._cut_off: set[int] = set()
        """Sessions (by id) that a fault ended; they are kept alive by their executions."""
        self._stopped: set[tuple[UUID, UUID]] = set()
        """(lease, run) of holders that were told to stop."""
        self._emitted: set[str] = set()
        self._children: dict[StepKey, UUID] = {}
        self._completions: dict[bytes, str] = {}
        self._delivered: set[bytes] = set()
        self._cancelled: set[UUID] = set()
        self._given_up: dict[UUID, float] = {}
        """Open children of cancelled runs, and since when."""
        self.healing_since = 0.0
        self.repeated = 0
        """Bodies that ran again because of a fault."""

    # --- what happens in holders

    def completed(self, signal_id: str, data: bytes) -> None:
        self._completions[data] = signal_id

    def claimed(self, row: RunRow) -> None:
        self._stopped.discard((row.run.lease_id, row.run.id))  # type: ignore[arg-type]

    def heard(self, worker: Any, message: HolderMessage) -> None:
        if type(message) is CancelRun:
            self._stopped.add((worker.lease_id, UUID(message.run_id)))
        elif type(message) is StartRun or type(message) is ResumeRun:
            self._stopped.discard((worker.lease_id, UUID(message.run_id)))

    def gone(self, worker: Any) -> None:
        """A worker's process ends: whatever ran in it is cut off."""
        for execution in worker.world.bodies:
            if execution.lease_id == worker.lease_id:
                self._cut_off.add(id(execution.session))

    def cut_off(self, session: Any) -> None:
        self._cut_off.add(id(session))

    def begun(self, execution: Any) -> None:
        """A body of a step begins."""
        run = self._records.runs[execution.key.run_id].run
        row = self._records.steps[run.id].get(execution.key)
        earlier = self._by_try.setdefault((execution.key, execution.attempt), [])
        self._executions[execution.number] = execution
        require((execution.lease_id, run.id) not in self._stopped, "a cancelled run starts a body", execution.key)
        if run.lease_id == execution.lease_id:
            # While a run is being cancelled a late repeat of a failure is taken for the last word on its step.
            recorded = row is not None and row.ended and not run.cancelling
            require(not recorded, "a body runs again whose step is recorded", execution.key)
            for other in earlier:
                lost = other.lease_id != execution.lease_id or id(other.session) in self._cut_off
                require(lost, "a body runs twice, and nothing explains it", execution.key, execution.attempt)
        if execution.key.id == ONCE:
            require(not earlier, "a body that runs at most once runs again", execution.key)
        self.repeated += bool(earlier)
        earlier.append(execution)

    # --- commits

    def decided(self, arrivals: Sequence[Arrival], outcome: Outcome, runs: dict[UUID, Run]) -> Before:
        """Check a decision against the `runs` as they are before it, and return what else is."""
        for arrival, acted in zip(arrivals, outcome.acted, strict=True):
            if type(arrival) is FromHolder:
                if acted and arrival.connection is not None:
                    self._check_speaker(arrival, outcome.runs.get(arrival.run_id))
            elif acted and type(arrival) is Cancelled:
                self._cancelled.add(arrival.run_id)
        for run_id in outcome.changed:
            self._check_change(runs[run_id], outcome.runs[run_id], arrivals)
        waits: dict[StepKey, WaitRow] = {}
        for key, put in outcome.steps.items():
            self._check_put(runs[key.run_id], put)
            wait = self._records.waits.get(key.run_id, NO_WAITS).get(key)
            if wait is not None:
                waits[key] = wait
        self._check_effects(outcome, runs)
        return Before(runs, waits)

    def _check_effects(self, outcome: Outcome, runs: dict[UUID, Run]) -> None:
        taken: set[str] = set()
        for effect in outcome.effects:
            kind = type(effect)
            if kind is PutWait:
                require(not runs[effect.key.run_id].cancelling, "a cancelled run begins a wait", effect.key)
                self._check_backoff(outcome, effect)
            elif kind is StartChild:
                key = effect.parent
                require(not runs[key.run_id].cancelling, "a cancelled run starts a child", key)
                require(key not in self._children, "a step starts a second child", key)
                self._children[key] = effect.run_id
            elif kind is Emit:
                require(effect.event_id not in self._emitted, "an event is sent twice", effect.event_id)
                self._emitted.add(effect.event_id)
            elif kind is PutSignal:
                if effect.delivered:
                    taken.add(effect.signal_id)
                kept = effect.signal_id not in taken and self._records.is_kept(effect.signal_id)
                require(not kept, "the data of a signal is thrown away", effect.signal_id, effect.waiter)

    def _check_speaker(self, arrival: FromHolder, run: Run | None) -> None:
        if run is not None and run.lease_id == arrival.lease_id:
            speaks = arrival.connection == self._records.connections[arrival.lease_id]
            require(speaks, "a holder that has come back writes by an earlier connection", run.id)

    def _give_up(self, run_id: UUID) -> None:
        for row in self._records.open.values():
            if row.run.parent is not None and row.run.parent.run_id == run_id:
                self._given_up.setdefault(row.run.id, self._records.now)

    def _check_change(self, was: Run, run: Run, arrivals: Sequence[Arrival]) -> None:
        require(not was.ended, "a run that has ended changes", run.id)
        require(_reachable(was.status, run.status), "no such change of a run", run.id, was.status, run.status)
        require(run.settled >= was.settled and run.attempt >= was.attempt, "a count goes back", run.id)
        require(run.attempt - was.attempt <= 1, "one failure of a body counts twice", run.id)
        if run.attempt > was.attempt and run.status == "queued":
            least = 0.8 * 2**was.attempt
            require((run.due_seconds or 0) >= least, "a body is tried again too early", run.id, run.due_seconds)
        if run.cancelling and not was.cancelling:
            self._give_up(run.id)
        if was.cancelling:
            require(run.cancelling, "a cancellation is forgotten", run.id)
            require(run.status in ("running", "cancelled"), "a cancelled run goes on", run.id, run.status)
        if run.losses > was.losses:
            lost = [a for a in arrivals if isinstance(a, HolderLost) and a.run_id == run.id]
            require(lost, "a loss is counted of a holder that was not lost", run.id)

    def _check_put(self, run: Run, put: PutStep) -> None:
        if put.op != "run":
            return
        if put.status == "completed":
            assert put.output is not None
            execution = self._executions.get(json.decode(Raw(put.output))["by"])
            require(execution is not None and execution.key == put.key, "a result that no body returned", put.key)
            assert execution is not None
            row = self._records.steps[run.id].get(put.key)
            if row is None or not row.ended:
                require(execution.lease_id == run.lease_id, "who lost its lease writes a result", put.key)
        elif put.status == "running":
            require(run.lease_id is not None, "a step of a run begins that nobody holds", put.key)

    def _check_backoff(self, outcome: Outcome, wait: PutWait) -> None:
        put = outcome.steps.get(wait.key)
        if put is not None and put.op == "run" and put.status == "retrying":
            least = 0.8 * 2 ** max(put.attempts - 1, 0)
            require((wait.seconds or 0) >= least, "a step is tried again too early", wait.key, wait.seconds)

    def written(self, before: Before) -> None:
        """Check what was written."""
        records = self._records
        for run_id in before.runs:
            self._check_reason(records.runs[run_id])
        for key, was in records.written.items():
            row = records.steps[key.run_id][key]
            if row.status in STEP_ENDED:
                still_waits = key in records.waits.get(key.run_id, NO_WAITS)
                require(not still_waits, "a step that has ended still waits", key, row.status)
                left = self._is_awaited(key, row)
                require(not left, "a signal is left for a step that has ended", key, row.waits_for)
            if was is None:
                self._check_settled(key, row, before, None)
            elif was != row.fixed:
                require(was[1] not in STEP_ENDED, "a step that has ended changes", key, was[1], row.status)
                require(row.status in STEP_CHANGES[was[1]], "no such change of a step", key, was[1], row)
                self._check_settled(key, row, before, was[1])

    def _is_awaited(self, key: StepKey, row: StepRow) -> bool:
        """Whether a signal is kept for this step."""
        if row.op != "wait_for_signal" or row.waits_for is None:
            return False
        signal = self._records.signals.get(row.waits_for.removeprefix("signal:"))
        return signal is not None and not signal.delivered and signal.waiter == key

    def _check_reason(self, row: RunRow) -> None:
        """An open run has exactly one reason to move."""
        run, waits = row.run, self._records.waits.get(row.run.id, NO_WAITS)
        match run.status:
            case "queued":
                right = row.due is not None and run.lease_id is None
            case "running":
                right = row.due is None and run.lease_id is not None
            case "waiting":
                right = row.due is None and run.lease_id is None and len(waits) > 0
            case _:
                still_open = [key for key, step in self._records.steps[run.id].items() if not step.ended]
                right = row.due is None and run.lease_id is None and not waits and not still_open
        require(right, "a run has not exactly one reason to move", run.id, run.status, row.due, run.lease_id, waits)

    def _check_settled(self, key: StepKey, row: StepRow, before: Before, was: str | None) -> None:
        """A step is written: rightly, and not too early."""
        now, wait = self._records.now, before.waits.get(key)
        due = wait is not None and wait.deadline is not None and wait.deadline <= now
        match row.op, row.status:
            case ("sleep", "completed") | (_, "timed_out"):
                require(due, "something wakes early", key, wait, now)
                if row.op == "wait_for_event" and wait is not None:
                    missed = self._event_before(key, wait)
                    require(missed is None, "a wait times out though its event had come", key, missed)
                elif row.op == "invoke" and row.child is not None:
                    # One that ends in the same commit may come after the deadline.
                    child = before.runs.get(row.child, self._records.runs[row.child].run)
                    require(not child.ended, "a call times out though its child had ended", key, child.status)
                elif row.op == "wait_for_signal" and row.waits_for is not None:
                    signal = self._records.signals.get(row.waits_for.removeprefix("signal:"))
                    kept = signal is not None and signal.data is not None and not signal.delivered
                    require(not kept, "a wait times out though its signal had come", key)
            case "run", "retrying" if was == "retrying" and wait is not None:
                require(due, "a step is tried again early", key, wait, now)
            case "wait_for_event", "completed":
                self._check_event(key, row, wait)
            case "wait_for_signal", "completed":
                self._check_signal(key, row)
            case "invoke", "completed" | "failed":
                self._check_child(key, row)
            case "send_event", "completed":
                require(row.event_id in self._records.events, "an event that was sent is lost", key, row.event_id)
            case _:
                pass

    def _event_before(self, key: StepKey, wait: WaitRow) -> EventRow | None:
        """The first event that a wait should have taken before its deadline."""
        event = self.first_event(key, wait)
        return event if event is not None and wait.deadline is not None and event.accepted < wait.deadline else None

    def first_event(self, key: StepKey, wait: WaitRow) -> EventRow | None:
        """The first event that a wait may take now."""
        assert wait.topic is not None
        assert wait.match is not None
        assert wait.since is not None
        name, records = wait.topic.removeprefix("event:"), self._records
        taken = {
            row.event_id
            for other, row in records.steps[key.run_id].items()
            if row.op == "wait_for_event" and row.event_id is not None and other != key
        }
        for event in records.events.values():
            if event.name == name and event.id not in taken and event.ts >= wait.since:  # noqa: SIM102
                if wait.match.accepts(Candidate(event.view())):
                    return event
        return None

    def _check_event(self, key: StepKey, row: StepRow, wait: WaitRow | None) -> None:
        require(wait is not None and wait.match is not None, "an event for a step that does not wait", key)
        assert wait is not None
        event = self.first_event(key, wait)
        require(event is not None and row.event_id == event.id, "not the first event that fits", key, row, event)
        assert event is not None
        require(row.output == event.encoded(), "another event than was accepted", key)

    def _check_signal(self, key: StepKey, row: StepRow) -> None:
        assert row.output is not None
        require(row.output in self._completions, "a signal that nobody completed", key)
        require(row.output not in self._delivered, "a signal is delivered twice", key)
        require(row.waits_for == f"signal:{self._completions[row.output]}", "the data of another signal", key)
        self._delivered.add(row.output)

    def _check_child(self, key: StepKey, row: StepRow) -> None:
        if row.child is None:
            return
        require(self._children.get(key) == row.child, "the result of another child", key)
        child = self._records.runs[row.child]
        if row.status == "completed":
            require(child.run.status == "completed" and child.output == row.output, "not the child's result", key)
        else:
            require(child.run.status in ("failed", "cancelled"), "the child did not fail", key, child.run.status)

    # --- the end

    def judge(self) -> None:
        """All runs have ended: each rightly."""
        for row in self._records.runs.values():
            self._check_reason(row)
            self._check_end(row)
            if row.run.status != "cancelled":  # there a step in flight is not tried again
                for key, step in self._records.steps[row.run.id].items():
                    self._check_tries(key, step)
            if row.run.parent is not None:
                self._check_orphan(row)

    def _check_end(self, row: RunRow) -> None:
        run = row.run
        require((run.status == "cancelled") == (run.id in self._cancelled), "cancelled wrongly", run.id, run.status)
        if run.status == "cancelled":
            return
        last = self._again(row)
        match last:
            case RunCompleted():
                right = run.status == "completed" and row.output == bytes(last.output)
            case RunFailed():
                right = run.status == "failed" and _name(row.error) == last.error.name
            case _:
                right = False
        require(right, "not the right end", f"run {run.id.int:x} of {run.function_id}", self._comparison(row, last))
        tries = self._failures(run)
        require(run.attempt in tries, "tries are used up by other than the author", run.id, run.attempt, tries)

    def _failures(self, run: Run) -> set[int]:
        """How often the body may have raised, by either version of the code."""
        function = self._program[run.function_id]
        times = {max((op.times for op in body if isinstance(op, Fail)), default=0) for body in function.versions}
        if run.status == "failed":
            return {function.retries + 1}
        most = max(times)
        return {*times, *range(min(times), most + 1)}

    def _again(self, row: RunRow) -> RunMessage | None:
        """What a body that goes through the whole record ends with, by whichever version of the code fits."""
        old, new = self._program[row.run.function_id].versions
        ends: list[RunMessage | None] = []
        for version in (0,) if old == new else (0, 1):
            last = self._end(row, version)
            if isinstance(last, RunCompleted) and row.output == bytes(last.output):
                return last
            ends.append(last)
        return next((last for last in ends if isinstance(last, RunFailed)), ends[0])

    def _comparison(self, row: RunRow, last: RunMessage | None) -> str:
        match last:
            case RunCompleted():
                again = f"completes with {bytes(last.output).decode()}"
            case RunFailed():
                again = f"fails with {last.error.name}"
            case None:
                again = "does not come to an end"
            case _:
                again = f"asks for something that is not recorded: {last}"
        ended = f"{row.run.status} with {(row.output or row.error or b'').decode()}"
        lines = ["", f"the run is {ended}", f"its body, again from the record, {again}", "the record, by commit:"]
        lines += [
            f"  {memo.group:4} {memo.id}[{memo.index}] {memo.op} {memo.status} "
            f"{memo.error.name if memo.error else bytes(memo.output).decode()}"
            for memo in self._records.memos(row.run.id)
        ]
        return "\n".join(lines)

    def _end(self, row: RunRow, version: int) -> RunMessage | None:
        run = row.run
        start = StartRun(
            run_id=str(run.id),
            lease_id=str(run.id),
            function_id=run.function_id,
            attempt=run.attempt - (run.status == "failed"),
            event=msgspec.structs.replace(row.event, data=NULL),
            memo=self._records.memos(run.id),
            settled=run.settled,
        )
        said = self._replay(start, version)
        return said[0] if len(said) == 1 else None

    def _check_tries(self, key: StepKey, row: StepRow) -> None:
        """Retries are used up by the author's failures alone."""
        if row.op != "run" or row.status not in ("completed", "failed"):
            return
        fails, retries = TRIES[key.id]
        if key.id == ONCE:
            require(len(self._by_try.get((key, 1), ())) <= 1, "run more than once", key)
        elif row.status == "completed":
            require(row.attempts == fails + 1 <= retries + 1, "not as many tries as failures", key, row.attempts)
        else:
            require(fails > retries and row.attempts == retries + 1, "retries are used up early", key, row.attempts)

    def _check_orphan(self, row: RunRow) -> None:
        assert row.run.parent is not None
        parent = self._records.runs[row.run.parent.run_id].run
        step = self._records.steps[parent.id][row.run.parent]
        require(step.child == row.run.id, "a child that its step does not know", row.run.id)
        given_up = self._given_up.get(row.run.id)
        if given_up is not None and row.run.status != "cancelled":
            assert row.ended_at is not None
            in_time = row.ended_at <= max(given_up, self.healing_since)
            require(in_time, "the child of a cancelled run goes on", row.run.id, row.ended_at)


def _name(error: bytes | None) -> str | None:
    return None if error is None else str(json.decode(Raw(error))["name"])


@cache
def _reachable(was: RunStatus, now: RunStatus) -> bool:
    """Whether a run may come from one status to another in one commit, in one or more changes."""
    reached, found = {was}, {was}
    while found:
        found = {after for status in found for after in RUN_CHANGES[status]} - reached
        reached |= found
    return now in reached
