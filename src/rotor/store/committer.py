"""Everything that happens to runs is written here: gathered, decided and committed together, then told to the holders.

What nobody else has anything to do with goes the short way (`rotor.store.progress`). Of the rest a batch
is one transaction: lock the runs' rows, read what the decisions need, decide (pure), write. Whoever holds a run's row
decides alone about its steps and waits, whatever other servers do, so a batch can also simply be tried again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from rotor import limits, telemetry
from rotor.engine.arrivals import Arrival, EventArrived, FromHolder, HolderLost
from rotor.engine.batch import Outcome, decide_batch
from rotor.engine.effects import CancelChildren, CancelRun
from rotor.engine.run import Run, StepKey
from rotor.engine.states import STEP_ENDED
from rotor.engine.telling import Groups, messages_of
from rotor.protocol.messages import (
    Committed,
    Emission,
    HolderMessage,
    Refused,
    RunCompleted,
    RunFailed,
    RunMessage,
    RunParked,
    StepDone,
    StepFailed,
    StepParked,
    StepStarted,
)
from rotor.protocol.messages import Error as ErrorMessage
from rotor.store.changes import Changes
from rotor.store.children import cancel_children
from rotor.store.database import Database
from rotor.store.group_commit import LAST_WRITES_WITHIN, GroupCommit
from rotor.store.holders import Holders
from rotor.store.intake import Intake
from rotor.store.news import News, read_news
from rotor.store.problems import Overloaded
from rotor.store.progress import Progress, divide, write_parks, write_progress
from rotor.store.reading import lock_runs, read_known
from rotor.store.wait_spans import ended_waits, trace_waits
from rotor.store.wakes import Wake, waking
from rotor.store.writing import Written, write

__all__ = ["Committer", "Exchange", "Result"]

log = logging.getLogger("rotor.store")

ARRIVAL_BYTES = 500
"""What one weighs without its payload."""
OPENS_WAIT: Final = (StepParked, StepFailed)
NONE: Final = UUID(int=0)
"""The fresh id of what starts nothing."""


class Result(NamedTuple):
    """What came of an arrival: whether it did anything, and what its run's holder is told."""

    acted: bool
    told: Sequence[HolderMessage]
    """Shared by all arrivals of one run in one batch."""


class Exchange(NamedTuple):
    """What the holder of one run says that is answered where it said it: over HTTP."""

    workspace_id: int
    lease_id: UUID
    messages: Sequence[RunMessage]
    told: int | None = None
    """How many settled waits it knows of: the answer has those that were settled since, or a race that the body runs
    would end otherwise on replay."""
    connection: int | None = None
    """As for `Committer.put`, where the holder is a worker."""


class Committer:
    """The writer of runs, steps and waits of this process."""

    def __init__(self, database: Database, changes: Changes, holders: Holders, intake: Intake) -> None:
        self._database = database
        self._changes = changes
        self._holders = holders
        self._intake = intake
        self._random = random.Random()  # noqa: S311 - jitter, no secret
        self._following: set[asyncio.Task[None]] = set()
        self.commits: GroupCommit[Arrival, Result] = GroupCommit("run commits", self._write, _weight)

    async def stop(self) -> None:
        """Write what is queued and what follows from it, then end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WRITES_WITHIN):
                while self._following:
                    await asyncio.wait(self._following)
        await self.commits.stop()

    async def submit(self, arrival: Arrival) -> bool:
        """Whether `arrival` did anything, once that is durable. Raises `Overloaded`."""
        return (await self.commits.submit(arrival)).acted

    async def submit_all(self, arrivals: Sequence[Arrival]) -> list[bool]:
        """`submit` for many at once, by those who can wait: where the queue is full, until there is room in it.

        What cannot be written has done nothing; the log says why.
        """
        await self.commits.room()
        results = await self.commits.submit_all(arrivals)
        return [isinstance(result, Result) and result.acted for result in results]

    def put(self, workspace_id: int, lease_id: UUID, message: RunMessage, *, connection: int) -> None:
        """Queue a message of a worker that is connected here (`Holders`), which the answer is delivered to.

        `connection` is the number of its connection: once it has come back by another, the message does nothing.
        """
        arrival = self._from_holder(workspace_id, lease_id, message, connection=connection)
        self.commits.put(arrival, self._finish)

    def _finish(self, arrival: Arrival, result: Result | BaseException) -> None:
        """What was committed has been told to its holder; what could not be is told here."""
        if isinstance(result, BaseException) and isinstance(arrival, FromHolder):
            self._holders.deliver(arrival.lease_id, [_refused(arrival.message, result)])

    def give_back(self, lost: HolderLost) -> None:
        """Queue that a worker has left before it heard of a run: others go on with it."""
        self.commits.put(lost, _told)

    async def exchange(self, said: Sequence[Exchange], *, can_go_on: bool = True) -> list[list[HolderMessage]]:
        """Commit what holders say, and return the answer to each. Raises `Overloaded`.

        With `can_go_on` false they have ended their invocations: a run that cannot be parked is claimed again.
        """
        arrivals = [self._from_exchange(one, message, can_go_on=can_go_on) for one in said for message in one.messages]
        results = await self.commits.submit_all(arrivals)
        overloaded = next((result for result in results if isinstance(result, Overloaded)), None)
        if overloaded is not None:
            raise overloaded
        left = iter(results)
        return [_answer(one.messages, left) for one in said]

    def _from_exchange(self, said: Exchange, message: RunMessage, *, can_go_on: bool) -> FromHolder:
        self._holders.hear(said.lease_id, message.run_id, message.n)
        return self._from_holder(
            said.workspace_id, said.lease_id, message, can_go_on=can_go_on, told=said.told, connection=said.connection
        )

    def _from_holder(
        self,
        workspace_id: int,
        lease_id: UUID,
        message: RunMessage,
        *,
        can_go_on: bool = True,
        told: int | None = None,
        connection: int | None = None,
    ) -> FromHolder:
        if type(message) is StepStarted:
            self._holders.begin(lease_id, message.run_id, (message.id, message.index))
        run_id = self._holders.run_id(lease_id, message.run_id)
        fresh_id = uuid7() if _starts(message) else NONE
        return FromHolder(run_id, workspace_id, lease_id, message, fresh_id, can_go_on, told, connection)

    async def _write(self, arrivals: Sequence[Arrival]) -> list[Result]:
        progress, parks, wakes, long = divide(arrivals, self._holders)
        results: dict[int, Result] = {}
        if progress:
            written = await write_progress(self._database, progress)
            results |= self._tell_progress(written)
            long = [*written.left, *long]
        if parks:
            parked = await write_parks(self._database, parks)
            results |= self._tell_parked(parked)
            long = [*parked.left, *long]
        if wakes:
            woken = await self._wake(wakes)
            results |= woken
            long = [*(wake.arrival for wake in wakes if id(wake.arrival) not in woken), *long]
        if long:
            results |= await self._decide(long)
        return [results[id(arrival)] for arrival in arrivals]

    def _tell_progress(self, progress: Progress) -> dict[int, Result]:
        """Tell holders that what they sent is durable; the results by the identity of their arrivals."""
        if progress.ended:
            # First of all: whoever waits for an end has still to read it.
            self._changes.runs_ended(
                arrival.run_id for arrival in progress.done if arrival.message.run_id in progress.ended
            )
        numbers: dict[UUID, dict[str, list[int]]] = {}
        for arrival in progress.done:
            message = arrival.message
            numbers.setdefault(arrival.lease_id, {}).setdefault(message.run_id, []).append(message.n)
        told: dict[UUID, Result] = {}
        for lease_id, runs in numbers.items():
            committed = [Committed(runs=runs, group=progress.group)]
            told[lease_id] = Result(acted=True, told=committed)
            self._holders.deliver(lease_id, committed, now=not progress.ended)
        self._changes.runs_changed(arrival.run_id for arrival in progress.done)
        if progress.ended:
            self._note_ends(progress)
        return {id(arrival): told[arrival.lease_id] for arrival in progress.done}

    def _note_ends(self, progress: Progress) -> None:
        for arrival in progress.done:
            if arrival.message.run_id in progress.ended and self._holders.forget(arrival.lease_id, arrival.run_id):
                self._changes.queued.set()
        telemetry.RUNS_ENDED.labels("completed").inc(len(progress.ended))

    def _tell_parked(self, parks: Progress) -> dict[int, Result]:
        """As of other progress, and note who keeps the bodies, and when the first of the runs wakes."""
        results = self._tell_progress(parks)
        for arrival in parks.done:
            if type(arrival.message) is not RunParked:
                continue
            if self._holders.forget(arrival.lease_id, arrival.run_id, kept=arrival.message.kept):
                self._changes.queued.set()
        if parks.deadline_seconds is not None:
            self._changes.deadline_in(parks.deadline_seconds)
        return results

    async def _wake(self, wakes: Sequence[Wake]) -> dict[int, Result]:
        """Wake runs the short way; the results of those that go on, by the identity of their arrivals."""
        try:
            with waking(self._holders, self._changes, self.give_back, self.trace) as waken:
                async with self._database.connection() as connection:
                    await waken.write(connection, wakes)
                waken.hand_out()
        except asyncpg.UniqueViolationError:
            return {}
        return {id(arrival): Result(acted=True, told=[]) for arrival in waken.woken}

    async def _decide(self, arrivals: Sequence[Arrival]) -> Mapping[int, Result]:
        """The long way: decide, write, and tell; the results by the identity of their arrivals."""
        for arrival in arrivals:
            if type(arrival) is FromHolder and type(arrival.message) in OPENS_WAIT:
                self._holders.opens(arrival.lease_id, arrival.message.run_id)
        with ExitStack() as reserved:
            starts = reserved.enter_context(self._intake.starting())
            async with self._database.transaction() as connection:
                runs = await lock_runs(connection, arrivals, self._holders.keeping())
                keepers = reserved.enter_context(self._holders.keepers(runs.values()))
                counted = {run.id for run in runs.values() if run.id in keepers.runs or self._is_here(run)}
                known = await read_known(connection, runs, arrivals, keepers=keepers, counted=counted)
                counted &= known.parked.keys()
                signals = frozenset(known.signals)
                news = await read_news(connection, self._holders, runs, arrivals)
                recorded = {key: step.group for key, step in known.steps.items() if step.status in STEP_ENDED}
                outcome = decide_batch(runs, known, arrivals, self._random.random)
                written = await write(connection, outcome, signals, known.settled, self._intake, starts=starts)
                reserved.enter_context(self._holders.giving({lease_id for lease_id, _ in outcome.resumed}))
            groups = Groups.of(written.group, {**recorded, **written.recorded}, arrivals)
            open_waits = {run_id: known.parked[run_id] for run_id in counted}
            self._note(arrivals)
            told = self._tell(outcome, groups, news, open_waits)
            alone = (wait for wait in written.waits if open_waits.get(wait.key.run_id) == 1)
            self._holders.remember(alone, outcome.runs, written.group)
            starts.hand_out()
        if not self._holders.hungry.isdisjoint(keepers.room):
            self._changes.queued.set()
        self._nudge(outcome, written)
        if waits := ended_waits(outcome.steps.values()):
            self.trace(waits, written.group)
        return {
            id(arrival): Result(acted, told.get(place, []) if place else [])
            for arrival, acted, place in zip(arrivals, outcome.acted, outcome.places, strict=True)
        }

    def _is_here(self, run: Run) -> bool:
        """Whether the run's holder is connected here."""
        return run.lease_id is not None and self._holders.told(run.lease_id, run.id) is not None

    def _note(self, arrivals: Sequence[Arrival]) -> None:
        """What came of these steps is on record."""
        for arrival in arrivals:
            if isinstance(arrival, FromHolder) and isinstance(message := arrival.message, StepDone):
                self._holders.end(arrival.lease_id, message.run_id, (message.id, message.index))

    def _tell(
        self, outcome: Outcome, groups: Groups, news: News, open_waits: Mapping[UUID, int]
    ) -> dict[tuple[UUID, UUID], list[HolderMessage]]:
        """Tell every holder what it has to know of the batch; return it by (lease, run)."""
        told: dict[tuple[UUID, UUID], list[HolderMessage]] = {}
        for place in outcome.notices.keys() | news.memos.keys():
            lease_id, run_id = place
            run, resumed = outcome.runs.get(run_id), place in outcome.resumed
            settled = run.settled if run is not None else 0
            told[place] = messages_of(
                place, news.memos.get(place), outcome.notices.get(place, []), groups, settled, resumed=resumed
            )
            if resumed and run is not None:
                if not self._holders.is_on(lease_id, run.connection):
                    # It has left meanwhile. Where it has come back, its welcome gives the run back.
                    self.give_back(HolderLost(run_id, lease_id, unreached_seconds=0, connection=run.connection))
                    continue
                self._holders.take(lease_id, run_id, settled=settled, quiet=False)
            self._holders.deliver(lease_id, told[place], everything=run_id in news.everything)
            if run is None or run.lease_id != lease_id:
                kept = run is not None and run.status == "waiting" and run.kept_by == lease_id
                if self._holders.forget(lease_id, run_id, kept=kept):
                    self._changes.queued.set()
        for run_id, waits in open_waits.items():
            run = outcome.runs[run_id]
            if run.lease_id is not None:
                self._holders.calm(run.lease_id, run_id, quiet=not waits and not run.losses)
        return told

    def _nudge(self, outcome: Outcome, written: Written) -> None:
        """Wake whoever in this process acts on what was committed."""
        if written.queued:
            self._changes.queued.set()
        if written.due_seconds is not None:
            self._changes.queued_in(written.due_seconds)
        self._changes.parked(written.waits)
        if written.accepted is not None:
            self._changes.accepted(written.accepted)
        if written.deadline_seconds is not None:
            self._changes.deadline_in(written.deadline_seconds)
        ended = [run for run in (outcome.runs[run_id] for run_id in outcome.changed) if run.ended]
        for run in ended:
            telemetry.RUNS_ENDED.labels(run.status).inc()
        self._changes.runs_ended(run.id for run in ended)
        self._changes.runs_changed(outcome.changed | {key.run_id for key in outcome.steps})
        cancelled = [effect for effect in outcome.effects if isinstance(effect, CancelChildren | CancelRun)]
        if cancelled:
            self._follow(cancel_children(self._database, self.submit_all, cancelled), "rotor cancel children")

    def trace(self, waits: Sequence[StepKey], group: int) -> None:
        """Traces never hold up commits, nor pile up behind them."""
        if len(self._following) < limits.FOLLOWING:
            self._follow(trace_waits(self._database, waits, group), "rotor trace waits")
        else:
            log.warning("%d waits are missing in traces: too much follows earlier commits (FOLLOWING)", len(waits))

    def _follow(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do what follows from a commit, which waits for none of it."""
        task = asyncio.create_task(work, name=name)
        self._following.add(task)
        task.add_done_callback(self._following.discard)


def _starts(message: RunMessage) -> bool:
    """Whether it may bring about an event or a child, which needs an id."""
    if isinstance(message, StepDone):
        return message.emit is not None
    return isinstance(message, StepParked) and message.child is not None


def _told(_: Arrival, __: Result | BaseException) -> None:
    """Whom it concerns has been told by the commit itself; what could not be written the rescuer finds."""


def _weight(arrival: Arrival) -> int:
    """About how many bytes it comes to, in memory and in the database."""
    if isinstance(arrival, FromHolder):  # nearly every one: it must cost little
        message = arrival.message
        if isinstance(message, StepDone) and message.emit is None:
            return len(memoryview(message.output)) + ARRIVAL_BYTES
        if isinstance(message, RunParked) or (isinstance(message, StepParked) and message.child is None):
            return ARRIVAL_BYTES
    match arrival:
        case FromHolder(message=StepDone(output=output, emit=Emission(data=data))):
            payload = len(memoryview(output)) + len(memoryview(data))
        case FromHolder(message=RunCompleted(output=output)):
            payload = len(memoryview(output))
        case FromHolder(message=StepParked(child=child)) if child is not None:
            payload = len(memoryview(child.data))
        case FromHolder(message=StepFailed(error=error) | RunFailed(error=error)):
            payload = len(error.message) + len(error.stack)
        case EventArrived(event=event):
            payload = len(event)
        case _:
            payload = 0
    return payload + ARRIVAL_BYTES


def _answer(messages: Sequence[RunMessage], results: Iterator[Result | BaseException]) -> list[HolderMessage]:
    """What one holder is told: the results of its messages are the next of `results`."""
    answers: dict[int, Sequence[HolderMessage]] = {}
    for message in messages:
        result = next(results)
        answer: Sequence[HolderMessage] = result.told if isinstance(result, Result) else [_refused(message, result)]
        answers[id(answer)] = answer
    return [message for answer in answers.values() for message in answer]


def _refused(message: RunMessage, error: BaseException) -> Refused:
    text = f"the server could not record this: {type(error).__name__}; its log says more"
    return Refused(run_id=message.run_id, n=message.n, error=ErrorMessage(name="StepError", message=text))
