"""Two servers, some holders and the lines between them, moved one small action at a time.

An action is a name and a number, which picks among what the action can be done to; one that can be done to nothing does
nothing. So every list of actions is a schedule, and a shorter one is still one.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol, TypeAlias

from uuid_utils import UUID

from rotor import limits
from rotor.engine.arrivals import (
    Arrival,
    Cancelled,
    DeadlineReached,
    EventArrived,
    FromHolder,
    HolderLost,
    SignalArrived,
)
from rotor.engine.batch import Outcome
from rotor.engine.effects import CancelChildren, CancelRun
from rotor.engine.run import Run, StepKey
from rotor.engine.states import STEP_ENDED
from rotor.engine.telling import Groups, messages_of
from rotor.protocol import messages
from rotor.protocol.messages import (
    Committed,
    DropRun,
    HolderMessage,
    Memo,
    ResumeRun,
    RunMessage,
    RunReleased,
    Settled,
    StartRun,
    StepDone,
    StepFailed,
    StepStarted,
)
from rotor.sdk.session import FINAL_MESSAGES
from tests.simulation.bodies import Call, Crew, ModelSession, encode
from tests.simulation.oracle import Oracle, Replay, ViolationError
from tests.simulation.programs import ONCE, Program
from tests.simulation.records import Records, RunRow

__all__ = ["ACTIONS", "FAULTS", "Action", "World", "is_served"]

Action: TypeAlias = tuple[str, int]
Move: TypeAlias = tuple[Callable[..., None], tuple[Any, ...]]

LEASE: Final = limits.LEASE.total_seconds()
COMES_BACK_WITHIN: Final = 3.0
WORKERS: Final = 2
SERVERS: Final = 2
CLIENTS_MAX: Final = 6
"""How many runs are started from outside, so that they come in each other's way."""
LOSSES_MAX: Final = limits.LOSSES - 1
"""A run whose holder dies more often in a row ends as failed, as it should; here none is to blame."""
ROUNDS_MAX: Final = 3_000
BATCH_MAX: Final = 8
"""How much one action does at most: frames heard, messages sent, arrivals committed together, runs claimed."""
COUNT_MAX: Final = 100
"""How much is done at a time once no more faults come."""
LOOK_BACK_MAX: Final = 64
REPEATABLE: Final = frozenset((DeadlineReached, SignalArrived, EventArrived, HolderLost, Cancelled))
CANCELLATIONS: Final = frozenset((CancelChildren, CancelRun))
RESULTS: Final = frozenset((StepDone, StepFailed))
LOOKED_FOR: Final = frozenset((DeadlineReached, EventArrived))


@dataclass(eq=False, slots=True)
class Execution:
    """One run of the body of a step."""

    number: int
    session: Any
    key: StepKey
    attempt: int
    lease_id: UUID
    finish: Callable[[Execution], None]
    """Ends it, if nobody has cut it off."""
    mention: Callable[[], None] = lambda: None
    """Tells the server that it runs."""

    @property
    def result(self) -> dict[str, int]:
        return {"by": self.number}


class Holding(Protocol):
    """The runs that a worker holds: `rotor.sdk.held_runs.HeldRuns` in a wrapper, or its model."""

    @property
    def active(self) -> list[str]: ...
    @property
    def unacknowledged(self) -> Sequence[Any]: ...
    def receive(self, message: HolderMessage) -> None: ...
    def rest(self) -> None:
        """Go on to where every run has to wait."""

    def release(self) -> None:
        """Give everything back."""

    def evict(self) -> None:
        """Drop a parked body."""

    def close(self) -> None:
        """The process is gone."""


class Server:
    """What the memory of one server holds: all of it is gone when it dies."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.queue: deque[tuple[Arrival, Invocation | None, Any]] = deque()
        """What waits for a commit; the invocation that is answered; and the post that it came with."""
        self.connections: dict[UUID, Worker] = {}
        """By lease; some may be dead without its knowledge."""
        self.told: dict[UUID, dict[UUID, int]] = {}
        self.kept: dict[UUID, set[UUID]] = {}
        """By lease: the runs whose bodies its holder keeps, as far as this server knows."""
        self.children: list[CancelChildren | CancelRun] = []
        """Cancellations that are still to be carried on."""
        self.invocations: list[Invocation] = []


class Worker:
    """A process with one connection and the runs that it holds."""

    def __init__(self, world: World, number: int, version: int) -> None:
        self.world = world
        self.number = number
        self.version = version
        self.lease_id: UUID | None = None
        self.connection = 0
        """The number of its connection on this lease."""
        self.server: Server | None = None
        self.seat: Server | None = None
        """The server that takes the worker for connected, whatever the line is like."""
        self.outgoing: deque[RunMessage] = deque()
        self.incoming: deque[list[HolderMessage]] = deque()
        """Frames."""
        self.held: Holding = world.hold(self)

    def hears(self, server: Server, lease_id: UUID) -> bool:
        """Whether the line of this lease works."""
        return self.server is server and self.lease_id == lease_id

    def send(self, message: RunMessage) -> None:
        if self.server is not None:
            self.outgoing.append(message)


class ModelHeld(Crew):
    """The model of `HeldRuns`."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._active: dict[str, ModelSession] = {}
        self._parked: dict[str, ModelSession] = {}

    @property
    def active(self) -> list[str]:
        return list(self._active)

    @property
    def unacknowledged(self) -> list[RunMessage]:
        return [message for session in self._active.values() for message in session.unacknowledged]

    def receive(self, message: HolderMessage) -> None:
        if type(message) is StartRun:
            self._start(message)
        elif type(message) is ResumeRun:
            self._resume(message)
        elif type(message) is DropRun:
            session = self._active.pop(message.run_id, None) or self._parked.pop(message.run_id, None)
            if session is not None:
                session.close()
        else:
            for run_id in message.runs if type(message) is Committed else (message.run_id,):
                if session := self._active.get(run_id) or self._parked.get(run_id):
                    session.receive(message)

    def _start(self, start: StartRun) -> None:
        parked = self._parked.pop(start.run_id, None)
        if parked is not None:
            parked.close()
        if stale := self._active.pop(start.run_id, None):
            stale.close()
        world = self._worker.world
        function = world.program[start.function_id]
        session = ModelSession(function, self._worker.version, start, self, keep=True)
        self._active[start.run_id] = session
        session.begin()

    def _resume(self, resume: ResumeRun) -> None:
        if parked := self._parked.pop(resume.run_id, None):
            self._active[resume.run_id] = parked
        if session := self._active.get(resume.run_id):
            session.receive(resume)
        else:
            self._worker.send(RunReleased(run_id=resume.run_id, n=0))

    def send(self, session: ModelSession, message: RunMessage) -> None:
        self._worker.send(message)

    def begin(self, session: ModelSession, call: Call) -> None:
        self._worker.world.begin_model_body(session, call, self._worker.send)

    def moved(self, session: ModelSession) -> None:
        if self._active.get(session.run_id) is not session and self._parked.get(session.run_id) is not session:
            return
        if session.state == "parked":
            del self._active[session.run_id]
            self._parked[session.run_id] = session
        elif session.state == "ended":
            self._active.pop(session.run_id, None)
            self._parked.pop(session.run_id, None)

    def rest(self) -> None:
        for session in list(self._active.values()):
            session.rest()

    def evict(self) -> None:
        """Drop the body that has been parked longest."""
        if self._parked:
            self._parked.pop(next(iter(self._parked))).close()

    def release(self) -> None:
        for session in list(self._active.values()):
            session.release()

    def close(self) -> None:
        for session in [*self._active.values(), *self._parked.values()]:
            session.close()
        self._active.clear()
        self._parked.clear()


class Scribe(Crew):
    """Writes down what a session says."""

    def __init__(self, said: list[RunMessage]) -> None:
        self._said = said

    def send(self, session: ModelSession, message: RunMessage) -> None:
        self._said.append(message)


class Invocation(Crew):
    """A run in the hands of a serve app, which posts what it has, one post at a time."""

    def __init__(self, world: World, server: Server, start: StartRun, version: int) -> None:
        self.world = world
        self.server: Server | None = server
        self.lease_id = UUID(start.lease_id)
        self.run_id = UUID(start.run_id)
        self.outgoing: list[RunMessage] = []
        self.posted: list[RunMessage] | None = None
        """What is being posted; kept until it is answered."""
        self.in_flight = 0
        """Copies of it that may still be answered."""
        self.answers: deque[tuple[list[RunMessage], list[HolderMessage]]] = deque()
        self.responded = False
        function = world.program[start.function_id]
        self.session = ModelSession(function, version, start, self, keep=False)

    def send(self, session: ModelSession, message: RunMessage) -> None:
        self.outgoing.append(message)

    def begin(self, session: ModelSession, call: Call) -> None:
        self.world.begin_model_body(session, call, self.outgoing.append)

    @property
    def is_final(self) -> bool:
        return any(isinstance(message, FINAL_MESSAGES) for message in self.outgoing)

    @property
    def has_work(self) -> bool:
        """Whether there is an answer to read, or something to post."""
        ended = self.session.state == "ended"
        return bool(self.answers or ended or (not self.in_flight and (self.outgoing or self.posted)))


class World:
    """One simulated deployment and what happens in it."""

    def __init__(
        self,
        program: Program,
        seed: int,
        *,
        hold: Callable[[Worker], Any] = ModelHeld,
        replay: Replay | None = None,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.program = program
        self._trace = trace
        self.hold = hold
        self.random = Random(seed)
        self.records = Records(self.random)
        self.oracle = Oracle(self.records, program, replay or self.replay)
        self.servers = [Server(number) for number in range(SERVERS)]
        self.versions = [0, 0]
        """Which code the workers and the apps that start now have."""
        self.workers = [Worker(self, number, 0) for number in range(WORKERS)]
        self.apps: list[Invocation] = []
        self.bodies: list[Execution] = []
        """Those that run."""
        self.executions = 0
        self.commits = 0
        self.arrivals = 0
        """Messages, timers and events that were decided on."""
        self.losses = 0
        self.faults = 0
        self.duplicates: deque[tuple[Arrival, None, None]] = deque(maxlen=20)
        self.settled: deque[tuple[Arrival, None, None]] = deque(maxlen=20)
        self.clients = 0
        self._rounds = 0
        self.settle: Callable[[], None] = lambda: None
        """Lets whatever runs in the holders come to rest."""
        self.sleep: Callable[[float], None] = lambda seconds: None
        """The holders' clocks go on."""
        self.patience = 0
        """How often those are let go on where nothing else moves."""
        self._actions = {name: getattr(self, f"_{name}") for name in (*ACTIONS, *FAULTS)}
        for number, worker in enumerate(self.workers):
            self._connect_to(worker, self.servers[number % SERVERS])

    def replay(self, start: StartRun, version: int) -> list[RunMessage]:
        """What a body says that goes through a whole record."""
        said: list[RunMessage] = []
        session = ModelSession(self.program[start.function_id], version, start, Scribe(said), keep=False)
        session.begin()
        session.rest()
        return said

    # --- actions

    def perform(self, action: Action) -> None:
        name, pick = action
        if self._trace and name != "go":
            self._trace(f"[{name} {pick}]")
        self._actions[name](pick)
        self.settle()

    def heal(self) -> None:
        """No more faults, and no more from outside: everything that is open comes to its end."""
        self.oracle.healing_since = self.records.now
        while self.records.open:
            if not self._go_on() and not self._doze() and not self._skip(self.random.choice):
                raise ViolationError(f"nothing will ever move these runs: {self._open()}")
        self._go_on()

    def _doze(self) -> bool:
        """Let the clocks of the holders go on for a while; whether that moves anything."""
        for _ in range(self.patience):
            self.sleep(2.0)
            if self._go_on():
                return True
        return False

    def _open(self) -> list[str]:
        return [f"{row.run.id.int} {row.run.status}" for row in self.records.open.values()]

    def _go_on(self) -> bool:
        """Let everyone do what there is to do; return whether anything came of it."""
        before = self.records.group, self.executions
        self._patrol()
        moved = True
        while moved:
            self._rounds += 1
            if self._rounds > ROUNDS_MAX:
                raise ViolationError(f"runs go on without end: {self._open()}")
            moved = False
            for act, arguments in self._moves(COUNT_MAX):
                act(*arguments)
                self.settle()
                moved = True
        return before != (self.records.group, self.executions)

    def _patrol(self) -> None:
        """What is not told of is looked for."""
        for worker in self.workers:
            if worker.server is None:
                self._connect_to(worker, self.servers[worker.number % SERVERS])
        for server in self.servers:
            self._notice(server.number)
            self._beat(server)
            self._rescue_at(server)
        self.settle()

    def _skip(self, pick: Callable[[list[float]], float] = min) -> bool:
        """Go on to when something is due, first of all or to a later one; whether anything ever is."""
        records = self.records
        due = [row.due for row in records.open.values() if row.due is not None]
        due += [
            wait.deadline for waits in records.waits.values() for wait in waits.values() if wait.deadline is not None
        ]
        held = {row.run.lease_id for row in records.open.values()}
        due += [expires for lease_id, expires in records.leases.items() if lease_id in held]
        later = [seconds for seconds in due if seconds > records.now]
        if not later:
            return False
        self._pass(pick(later) - records.now)
        return True

    def _pass(self, seconds: float) -> None:
        """Time goes by, with heartbeats on every line that works."""
        records = self.records
        records.now += seconds
        for server in self.servers:
            alive = [lease_id for lease_id, worker in server.connections.items() if worker.hears(server, lease_id)]
            alive += [app.lease_id for app in server.invocations]
            for lease_id in alive:
                if records.leases.get(lease_id, 0.0) > records.now - seconds:
                    records.leases[lease_id] = records.now + LEASE
        self.sleep(seconds)

    # --- from outside

    def _start(self, pick: int) -> None:
        if self.clients < CLIENTS_MAX:
            self.clients += 1
            self.records.start("root", self.records.fresh_id())

    def _event(self, pick: int) -> None:
        name, value = ("x", "y")[pick % 2], (pick >> 1) % 2
        event_id = f"sent-{self.records.fresh_id().int}"
        self.records.accept(event_id, name, encode({"k": value}))

    def _signal(self, pick: int) -> None:
        names = ["one", "two"] if pick % 2 else [f"own-{run_id}" for run_id in self.records.runs] or ["own"]
        name = names[(pick >> 1) % len(names)]
        completion = encode(self.records.fresh_id().int)
        taken, waiter = self.records.complete_signal(name, bytes(completion))
        if taken:
            self.oracle.completed(name, bytes(completion))
        if waiter is not None:
            self._queue(pick >> 1, SignalArrived(waiter, name))

    def _cancel(self, pick: int) -> None:
        runs = list(self.records.runs)
        if runs and pick % 4 == 0:
            self._queue(pick, Cancelled(runs[pick // 4 % len(runs)]))

    def _queue(self, pick: int, *arrivals: Arrival) -> None:
        self.servers[pick % SERVERS].queue.extend((arrival, None, None) for arrival in arrivals)

    def _tick(self, pick: int) -> None:
        self._pass((0.0, 0.5, 1.0, 5.0, 20.0, 100.0, 4000.0)[pick % 7])

    def _jump(self, pick: int) -> None:
        self._skip()

    # --- what goes on by itself

    def _go(self, pick: int) -> None:
        """One of the parts that have something to do does it. Where none has, time goes on to when one will."""
        moves = list(self._moves(1 + pick % BATCH_MAX))
        if moves:
            act, arguments = moves[pick // BATCH_MAX % len(moves)]
            act(*arguments)
        elif pick % 2:
            self._skip()

    def _moves(self, count: int) -> Iterator[Move]:
        """What can be done now, each of it up to `count` times, in the order of a round trip.

        Whoever does one before the next is drawn has that one see what came of it.
        """
        for worker in self.workers:
            if worker.incoming:
                yield self._hear, (worker, count)
        for body in self.bodies[:]:
            yield self._finish_body, (body,)
        for worker in self.workers:
            if worker.outgoing:
                yield self._say, (worker, count)
        for app in self.apps[:]:
            if app.has_work:
                yield self._app, (app,)
        yield from self._moves_of_servers(count)

    def _moves_of_servers(self, count: int) -> Iterator[Move]:
        for server in self.servers:
            if server.queue:
                yield self._commit_at, (server, count)
            if server.children:
                yield self._cancel_children, (server,)
        for_workers, for_apps = self._due()
        if for_workers:
            for server in self.servers:
                if self._takers(server):
                    yield self._dispatch, (server, count)
        server = self.servers[self.records.group % SERVERS]
        if for_apps:
            yield self._serve, (server, count)
        due, owing = self._due_waits(), self._owing()
        if due or owing:
            on_their_way = self._on_their_way()
            if not on_their_way.issuperset(due):
                yield self._fire, (server,)
            if not on_their_way.issuperset(owing):
                yield self._look, (server,)

    def _on_their_way(self) -> set[StepKey]:
        """The waits for which a deadline or an event is already submitted."""
        return {
            arrival.key  # type: ignore[union-attr]
            for server in self.servers
            for arrival, *_ in server.queue
            if type(arrival) in LOOKED_FOR
        }

    # --- the lines

    def _hear(self, worker: Worker, count: int) -> None:
        for _ in range(min(count, len(worker.incoming))):
            for message in worker.incoming.popleft():
                self.oracle.heard(worker, message)
                worker.held.receive(message)
            self.rest(worker)

    def rest(self, worker: Worker) -> None:
        """Whatever runs in a worker goes on to where it has to wait."""
        worker.held.rest()

    def _say(self, worker: Worker, count: int) -> None:
        for _ in range(min(count, len(worker.outgoing))):
            message = worker.outgoing.popleft()
            if worker.server is not None and worker.lease_id is not None:
                arrival = self._arrival(worker.lease_id, message, connection=worker.connection)
                worker.server.queue.append((arrival, None, None))

    def _arrival(
        self,
        lease_id: UUID,
        message: RunMessage,
        *,
        can_go_on: bool = True,
        told: int | None = None,
        connection: int | None = None,
    ) -> FromHolder:
        fresh_id = self.records.fresh_id()
        return FromHolder(UUID(message.run_id), 1, lease_id, message, fresh_id, can_go_on, told, connection)

    def _app(self, app: Invocation) -> None:
        """A serve app reads an answer, posts what it has, or responds."""
        if app.answers:
            post, answer = app.answers.popleft()
            if post is app.posted:
                app.posted = None
                for message in answer:
                    if isinstance(message, DropRun):
                        app.session.close()
                    else:
                        app.session.receive(message)
                app.session.rest()
            return
        if app.responded:
            return
        if app.session.state == "ended" or (app.posted is None and app.is_final):
            self._respond(app)
        elif app.posted is not None or app.outgoing:
            if app.posted is None:
                app.posted, app.outgoing = app.outgoing, []
            self._post(app, app.posted)

    def _post(self, app: Invocation, post: list[RunMessage]) -> None:
        if not app.in_flight:
            app.in_flight += 1
            server = self.servers[app.lease_id.int % SERVERS]
            told = app.session.settled
            server.queue.extend((self._arrival(app.lease_id, message, told=told), app, post) for message in post)

    def _respond(self, app: Invocation) -> None:
        """The invocation ends with what was not acknowledged."""
        app.responded = True
        if app.server is not None:
            last = [] if app.session.state == "ended" else app.session.unacknowledged
            arrivals: list[Arrival] = [self._arrival(app.lease_id, message, can_go_on=False) for message in last]
            arrivals.append(HolderLost(app.run_id, app.lease_id))
            app.server.queue.extend((arrival, None, None) for arrival in arrivals)
            app.server.invocations.remove(app)
        self.apps.remove(app)

    # --- the bodies of steps

    def begin_body(self, execution: Execution) -> None:
        if self._trace:
            step = in_short(execution.key)
            self._trace(f"{self.records.now:g} s, body {execution.number} runs, of {step}, try {execution.attempt}")
        self.oracle.begun(execution)
        self.bodies.append(execution)

    def next_execution(self) -> int:
        self.executions += 1
        return self.executions

    def begin_model_body(self, session: ModelSession, call: Call, send: Callable[[RunMessage], None]) -> None:
        def running() -> bool:
            return session.pending.get(call.key) is call and call.stage == "running"

        def finish(execution: Execution) -> None:
            if running():
                session.finish(call, encode(execution.result))
                session.rest()

        def mention() -> None:
            if running() and key.id != ONCE:
                step = {"id": key.id, "index": key.index, "attempts": call.attempts}
                send(StepStarted(run_id=session.run_id, elapsed_ms=200, **step))

        key, lease_id = StepKey(UUID(session.run_id), *call.key), UUID(session.lease_id)
        self.begin_body(
            Execution(self.next_execution(), session, key, call.attempts, lease_id, finish=finish, mention=mention)
        )

    def _finish_body(self, execution: Execution) -> None:
        self.bodies.remove(execution)
        execution.finish(execution)

    def _announce(self, pick: int) -> None:
        """A body that takes a while is mentioned."""
        if self.bodies:
            self.bodies[pick % len(self.bodies)].mention()

    # --- what servers do

    def _commit_at(self, server: Server, count: int, *, dies: bool = False) -> None:
        batch = [server.queue.popleft() for _ in range(min(count, len(server.queue)))]
        # What was posted together is committed together.
        while server.queue and batch[-1][2] is not None and server.queue[0][2] is batch[-1][2]:
            batch.append(server.queue.popleft())
        arrivals = [arrival for arrival, _, _ in batch]
        for arrival, app, _ in batch:
            if app is not None:
                self.duplicates.append((arrival, None, None))
            elif is_repeatable(arrival):
                self.settled.append((arrival, None, None))
        self.commits += 1
        self.arrivals += len(arrivals)
        runs = self.records.lock(arrivals)
        news = self._missed(server, runs, arrivals)
        were = runs.copy()
        outcome = self.records.decide(runs, arrivals, *self._keepers(server, runs))
        before = self.oracle.decided(arrivals, outcome, were)
        recorded = self._recorded(arrivals, outcome)
        group = self.records.write(outcome)
        if self._trace:
            self._trace(f"{self.records.now:g} s, server {server.number}{' (dies)' if dies else ''} commits:")
            for line in in_words(arrivals, outcome):
                self._trace(f"    {line}")
        self.oracle.written(before)
        if not dies:
            self._tell(server, batch, outcome, Groups.of(group, recorded, arrivals), news)
            server.children += [effect for effect in outcome.effects if type(effect) in CANCELLATIONS]

    def _keepers(self, server: Server, runs: dict[UUID, Run]) -> tuple[frozenset[UUID], Counter[UUID]]:
        """Those of these runs that may go on with who keeps their bodies here, and how much room each of these has."""
        resumable, room = set(), Counter[UUID]()
        for run in runs.values():
            lease_id = run.kept_by
            if lease_id is None or run.status != "waiting" or not self._is_here(server, lease_id):
                continue
            if run.id in server.kept[lease_id]:
                resumable.add(run.id)
                room[lease_id] = self.random.randrange(3)
        return frozenset(resumable), room

    def _is_here(self, server: Server, lease_id: UUID) -> bool:
        """Whether a holder may be given runs by this server, which takes it for connected."""
        worker, expires = server.connections.get(lease_id), self.records.leases.get(lease_id, -1.0)
        return (
            worker is not None and worker.lease_id == lease_id and worker.seat is server and expires > self.records.now
        )

    def _recorded(self, arrivals: Sequence[Arrival], outcome: Outcome) -> dict[StepKey, int]:
        """Of the steps that holders are told of, those that have ended, each with the commit that recorded it."""
        keys = [
            StepKey(arrival.run_id, arrival.message.id, arrival.message.index)
            for arrival in arrivals
            if type(arrival) is FromHolder and type(arrival.message) in RESULTS
        ]
        for (_, run_id), notices in outcome.notices.items():
            keys += [StepKey(run_id, memo.id, memo.index) for memo in notices if type(memo) is Memo]
        found = {}
        for key in keys:
            row = self.records.steps[key.run_id].get(key)
            if row is not None and row.status in STEP_ENDED:
                found[key] = row.group
        return found

    def _missed(
        self, server: Server, runs: dict[UUID, Run], arrivals: Sequence[Arrival]
    ) -> dict[tuple[UUID, UUID], list[Memo]]:
        """What another server has settled of those of these runs that are held here."""
        said = {}
        for arrival in arrivals:
            if type(arrival) is FromHolder and arrival.told is not None:
                said[arrival.lease_id, arrival.run_id] = arrival.told
        missed = {}
        for run in runs.values():
            if run.lease_id is not None:
                place = run.lease_id, run.id
                told = said.get(place, server.told.get(run.lease_id, {}).get(run.id))
                if told not in (None, run.settled):
                    missed[place] = self.records.news(run.id, everything=told == -1)
        return missed

    def _tell(
        self,
        server: Server,
        batch: Sequence[tuple[Arrival, Invocation | None, Any]],
        outcome: Outcome,
        groups: Groups,
        news: dict[tuple[UUID, UUID], list[Memo]],
    ) -> None:
        said: dict[tuple[UUID, UUID], list[HolderMessage]] = {}
        for place in [*outcome.notices, *(place for place in news if place not in outcome.notices)]:
            lease_id, run_id = place
            run = outcome.runs.get(run_id)
            resumed = place in outcome.resumed
            said[place] = messages_of(
                place,
                news.get(place),
                outcome.notices.get(place, ()),
                groups,
                run.settled if run is not None else 0,
                resumed=resumed,
            )
            self._deliver(server, lease_id, run_id, said[place])
            if resumed:
                self.oracle.claimed(self.records.runs[run_id])
            if (run is None or run.lease_id != lease_id) and lease_id in server.told:
                server.told[lease_id].pop(run_id, None)
                if run is not None and run.status == "waiting" and run.kept_by == lease_id:
                    server.kept[lease_id].add(run_id)
        posts = {id(post): (app, post) for _, app, post in batch if app is not None}
        for app, post in posts.values():
            app.in_flight = 0
            app.answers.append((post, said.get((app.lease_id, app.run_id), [])))

    def _deliver(self, server: Server, lease_id: UUID, run_id: UUID, said: Sequence[HolderMessage]) -> None:
        """Tell a worker of one of its runs."""
        worker = server.connections.get(lease_id)
        if worker is None:
            return
        for message in said:
            kind = type(message)
            if kind is Settled or kind is StartRun or kind is ResumeRun:
                server.told[lease_id][run_id] = message.settled  # type: ignore[union-attr]
                if kind is not Settled:
                    server.kept[lease_id].discard(run_id)
        if worker.hears(server, lease_id):
            worker.incoming.append(list(said))

    def _due(self) -> tuple[list[RunRow], list[RunRow]]:
        """Due runs of workers, and of serve apps: the grandchild is served over HTTP, and every third root."""
        due: tuple[list[RunRow], list[RunRow]] = [], []
        now = self.records.now
        for row in self.records.open.values():
            run = row.run
            if run.status == "queued" and row.due is not None and row.due <= now and not run.cancelling:
                due[is_served(run.function_id, run.id)].append(row)
        return due

    def _takers(self, server: Server) -> list[UUID]:
        """The leases of those workers that this server may give runs to."""
        return [
            lease_id
            for lease_id in server.connections
            if self._is_here(server, lease_id)
            and not any(is_welcome(arrival, lease_id) for arrival, _, _ in server.queue)
        ]

    def _dispatch(self, server: Server, count: int) -> None:
        due, _ = self._due()
        for lease_id in self._takers(server):
            for row in due[:count]:
                self._note_claim(row, f"worker {server.connections[lease_id].number}")
                keeps = row.run.id in server.kept[lease_id]
                self._deliver(server, lease_id, row.run.id, [self.records.claim(row, lease_id, keeps=keeps)])
                self.oracle.claimed(row)
            del due[:count]

    def _serve(self, server: Server, count: int) -> None:
        _, due = self._due()
        for row in due[:count]:
            lease_id = self.records.fresh_id()
            self.records.leases[lease_id] = self.records.now + LEASE
            self._note_claim(row, "a serve app")
            start = self.records.claim(row, lease_id)
            assert isinstance(start, StartRun)
            self.oracle.claimed(row)
            app = Invocation(self, server, start, self.versions[1])
            self.apps.append(app)
            server.invocations.append(app)
            app.session.begin()
            app.session.rest()

    def _note_claim(self, row: RunRow, who: str) -> None:
        if self._trace:
            self._trace(f"{self.records.now:g} s, run {row.run.id.int:x} ({row.run.function_id}) goes to {who}")

    def _fire_timers(self, pick: int) -> None:
        self._fire(self.servers[pick % SERVERS])

    def _fire(self, server: Server) -> None:
        due = self._due_waits()
        self._look_for(server, due, at_once=True)
        server.queue.extend((DeadlineReached(key), None, None) for key in due)

    def _due_waits(self) -> list[StepKey]:
        now = self.records.now
        return [
            key
            for waits in self.records.waits.values()
            for key, wait in waits.items()
            if wait.deadline is not None and wait.deadline <= now
        ]

    def _match(self, pick: int) -> None:
        self._look(self.servers[pick % SERVERS])

    def _look(self, server: Server) -> None:
        """Events look for waits, and waits look back."""
        records = self.records
        owing, fresh = self._owing(), records.undelivered[:]
        if self._look_for(server, owing):
            records.undelivered = [event_id for event_id in records.undelivered if event_id not in fresh]

    def _owing(self) -> list[StepKey]:
        """Waits that may have an event to take: it came before them, or has just come."""
        records = self.records
        topics = {f"event:{records.events[event_id].name}" for event_id in records.undelivered}
        return [
            key
            for waits in records.waits.values()
            for key, wait in waits.items()
            if wait.unlooked or (topics and wait.topic in topics)
        ]

    def _look_for(self, server: Server, keys: Sequence[StepKey], *, at_once: bool = False) -> bool:
        """Offer each of these waits the first event that it may take; whether all of it has been written."""
        done = True
        records = self.records
        for key in keys:
            wait = records.waits.get(key.run_id, {}).get(key)
            for _ in range(LOOK_BACK_MAX):
                if wait is None or wait.match is None or records.waits.get(key.run_id, {}).get(key) is not wait:
                    break
                event = self.oracle.first_event(key, wait)
                if event is None:
                    wait.unlooked = False
                    break
                arrival = EventArrived(key, event.id, event.encoded(), 1)
                if not at_once and self.random.random() < 0.5:  # it takes a while, and others come between
                    server.queue.append((arrival, None, None))
                    done = False
                    break
                server.queue.appendleft((arrival, None, None))
                self._commit_at(server, 1)
        return done

    def _pulse(self, pick: int) -> None:
        self._beat(self.servers[pick % SERVERS])

    def _beat(self, server: Server) -> None:
        """Holders are told what other servers did to their runs."""
        for told in server.told.values():
            for run_id, settled in list(told.items()):
                row = self.records.runs[run_id]
                if row.run.status != "running" or row.run.lease_id is None:
                    continue
                if row.run.settled != settled:
                    memos = self.records.news(run_id, everything=settled == -1)
                    news = Settled(run_id=str(run_id), memo=memos, settled=row.run.settled)
                    self._deliver(server, row.run.lease_id, run_id, [news])
                if row.run.cancelling:
                    self._deliver(server, row.run.lease_id, run_id, [messages.CancelRun(run_id=str(run_id))])

    def _rescue(self, pick: int) -> None:
        self._rescue_at(self.servers[pick % SERVERS])

    def _rescue_at(self, server: Server) -> None:
        """Take up what dead holders and dead servers left."""
        records = self.records
        lost = [
            row.run
            for row in records.open.values()
            if row.run.lease_id is not None and records.leases.get(row.run.lease_id, -1.0) <= records.now
        ]
        company = len(lost)
        for run in lost:
            assert run.lease_id is not None
            server.queue.append((HolderLost(run.id, run.lease_id, company=company - 1), None, None))
        for signal_id, signal in records.signals.items():
            if signal.waiter is not None and signal.data is not None and not signal.delivered:
                server.queue.append((SignalArrived(signal.waiter, signal_id), None, None))
        server.queue.extend((Cancelled(run_id), None, None) for run_id in self._orphans())

    def _orphans(self) -> list[UUID]:
        records, orphans = self.records, []
        for row in records.open.values():
            run = row.run
            if run.cancelling and run.status in ("queued", "waiting"):
                orphans.append(run.id)
            elif run.parent is not None and not run.cancelling:
                parent = records.runs[run.parent.run_id].run
                step = records.steps[run.parent.run_id].get(run.parent)
                given_up = step is not None and step.status in ("timed_out", "cancelled") and not parent.ended
                if parent.cancelling or given_up:
                    orphans.append(run.id)
        return orphans

    def _follow(self, pick: int) -> None:
        self._cancel_children(self.servers[pick % SERVERS])

    def _cancel_children(self, server: Server) -> None:
        effects, server.children = server.children, []
        for effect in effects:
            if isinstance(effect, CancelRun):
                server.queue.append((Cancelled(effect.run_id), None, None))
            else:
                for row in self.records.open.values():
                    if row.run.parent is not None and row.run.parent.run_id == effect.run_id:
                        server.queue.append((Cancelled(row.run.id), None, None))

    # --- connections

    def _connect(self, pick: int) -> None:
        away = [worker for worker in self.workers if worker.server is None]
        if away:
            self._connect_to(away[pick % len(away)], self.servers[(pick >> 1) % SERVERS])

    def _connect_to(self, worker: Worker, server: Server) -> None:
        """A worker comes (back), and what it holds is made the same as what its lease holds."""
        records = self.records
        lease_id = worker.lease_id
        if lease_id is None or records.leases.get(lease_id, -1.0) <= records.now:
            if lease_id is not None:
                worker.held.close()
                self.settle()
            lease_id = records.fresh_id()
        records.leases[lease_id] = records.now + LEASE
        records.connections[lease_id] = worker.connection = records.connections.get(lease_id, 0) + 1
        worker.lease_id, worker.server, worker.seat = lease_id, server, server
        server.connections[lease_id], server.told[lease_id], server.kept[lease_id] = worker, {}, set()
        held = {row.run.id for row in records.open.values() if row.run.lease_id == lease_id}
        active = [UUID(run_id) for run_id in worker.held.active]
        for run_id in active:
            if run_id in held:
                server.told[lease_id][run_id] = -1
            else:
                worker.held.receive(DropRun(run_id=str(run_id)))
        self.rest(worker)
        for run_id in held - set(active):
            lost = HolderLost(run_id, lease_id, unreached_seconds=0, connection=worker.connection)
            server.queue.append((lost, None, None))
        for message in worker.held.unacknowledged:
            worker.send(message)

    def _evict(self, pick: int) -> None:
        self.workers[pick % WORKERS].held.evict()

    # --- faults

    def _cut(self, pick: int) -> None:
        """A line breaks, with all that is on its way; the server may not notice for a while, and the worker be back."""
        worker = self.workers[pick % WORKERS]
        if worker.server is not None:
            self.faults += 1
            self._disconnect(worker)
            if (pick >> 1) % 2:
                self._connect_to(worker, self.servers[(pick >> 2) % SERVERS])

    def _disconnect(self, worker: Worker) -> None:
        worker.server = None
        worker.outgoing.clear()
        worker.incoming.clear()

    def _notice(self, pick: int) -> None:
        """A server sees that a line is broken, and lets the lease run out soon."""
        server = self.servers[pick % SERVERS]
        for lease_id, worker in list(server.connections.items()):
            if not worker.hears(server, lease_id):
                del server.connections[lease_id]
                server.told.pop(lease_id, None)
                server.kept.pop(lease_id, None)
                if worker.lease_id == lease_id and worker.seat is server and lease_id in self.records.leases:
                    left = self.records.now + COMES_BACK_WITHIN
                    self.records.leases[lease_id] = min(self.records.leases[lease_id], left)

    def _kill_worker(self, pick: int) -> None:
        if self.losses < LOSSES_MAX:
            self.losses += 1
            self.faults += 1
            self._restart(self.workers[pick % WORKERS], pick)

    def _restart(self, worker: Worker, pick: int) -> None:
        self._disconnect(worker)
        self.oracle.gone(worker)
        worker.held.close()
        self.settle()
        if (pick >> 1) % 2:
            self.versions[0] = 1
        fresh = Worker(self, worker.number, self.versions[0] if (pick >> 2) % 4 else worker.version)
        self.workers[worker.number] = fresh

    def _deploy(self, pick: int) -> None:
        """A worker stops as it should: it gives back what it holds, and the next one has other code."""
        worker = self.workers[pick % WORKERS]
        self.oracle.gone(worker)
        worker.held.release()
        self.settle()
        self._say(worker, COUNT_MAX)
        self._restart(worker, pick | 2)

    def _kill_app(self, pick: int) -> None:
        if not self.apps or self.losses >= LOSSES_MAX:
            return
        self.losses += 1
        self.faults += 1
        for app in self.apps:
            self.oracle.cut_off(app.session)
            app.session.close()
            if app.server is not None:
                lost = HolderLost(app.run_id, app.lease_id, company=len(self.apps) - 1)
                app.server.queue.append((lost, None, None))
                app.server.invocations.remove(app)
        self.apps.clear()
        self.versions[1] |= (pick >> 1) % 2

    def _kill_server(self, pick: int) -> None:
        """A server dies, perhaps between a commit and its telling, and is back at once with an empty memory."""
        number = pick % SERVERS
        server = self.servers[number]
        self.faults += 1
        if server.queue and (pick >> 1) % 2:
            self._commit_at(server, 1 + (pick >> 2) % 4, dies=True)
        for worker in self.workers:
            if worker.server is server:
                self._disconnect(worker)
        for app in self.apps:
            app.in_flight = 0
            if app.server is server:
                app.server = None
        self.servers[number] = Server(number)
        for worker in self.workers:
            if worker.seat is server:
                worker.seat = None

    def _lose_answer(self, pick: int) -> None:
        answered = [app for app in self.apps if app.answers]
        if answered:
            self.faults += 1
            answered[pick % len(answered)].answers.popleft()

    def _freeze(self, pick: int) -> None:
        """A process stands still for longer than its lease, and then goes on as if nothing were."""
        worker = self.workers[pick % WORKERS]
        if worker.server is not None and self.losses < LOSSES_MAX:
            self.losses += 1
            self.faults += 1
            self._disconnect(worker)
            self._pass(LEASE + 1)

    def _duplicate(self, pick: int) -> None:
        """A post that was sent again arrives late."""
        if self.duplicates:
            self.faults += 1
            self.servers[pick % SERVERS].queue.append(self.duplicates[(pick >> 1) % len(self.duplicates)])

    def _repeat(self, pick: int) -> None:
        """What a loop had seen to be due is submitted twice, perhaps long after."""
        queue = self.servers[pick % SERVERS].queue
        settlements = [entry for entry in queue if is_repeatable(entry[0])] + list(self.settled)
        if settlements:
            self.faults += 1
            self.servers[(pick >> 1) % SERVERS].queue.append(settlements[(pick >> 2) % len(settlements)])

    def _hasten(self, pick: int) -> None:
        """A loop that is behind takes a wait for due: it saw an earlier one of the same step."""
        waits = [key for waits in self.records.waits.values() for key in waits]
        keys = [key for key in waits if self.records.steps[key.run_id][key].status == "retrying"]
        if keys:
            self.faults += 1
            self._queue(pick, DeadlineReached(keys[(pick >> 1) % len(keys)]))


def is_welcome(arrival: Arrival, lease_id: UUID) -> bool:
    """Whether it takes from a worker that has come back what it has no more. Nothing is given to it before that."""
    return type(arrival) is HolderLost and arrival.lease_id == lease_id and arrival.connection is not None


def in_words(arrivals: Sequence[Arrival], outcome: Outcome) -> list[str]:
    """What a commit was about, and what it wrote."""
    lines = []
    for arrival, acted in zip(arrivals, outcome.acted, strict=True):
        about = [f"run {arrival.run_id.int:x}"]
        if isinstance(arrival, FromHolder):
            message = arrival.message
            about.append(f"{message.id}[{message.index}]" if isinstance(message, messages.StepMessage) else "")
            about.append(type(message).__name__)
        else:
            about.append(type(arrival).__name__)
        lines.append(" ".join(filter(None, about)) + ("" if acted else ": nothing to do"))
    lines += [f"-> {in_short(put.key)}: {put.status}" for put in outcome.steps.values()]
    lines += [f"-> run {run_id.int:x}: {outcome.runs[run_id].status}" for run_id in outcome.changed]
    return lines


def in_short(key: StepKey) -> str:
    return f"run {key.run_id.int:x} {key.id}[{key.index}]"


def is_repeatable(arrival: Arrival) -> bool:
    """Whether a loop submits it, which may see the same thing twice."""
    return type(arrival) in REPEATABLE and not (type(arrival) is HolderLost and arrival.connection is not None)


def is_served(function_id: str, run_id: UUID) -> bool:
    """Whether a run is one of a serve app; the others are workers'."""
    return function_id == "grandchild" or (function_id == "root" and run_id.int % 3 == 0)


ACTIONS: Final[dict[str, int]] = {
    "go": 100,
    "start": 6,
    "event": 3,
    "signal": 4,
    "cancel": 2,
    "tick": 4,
    "jump": 3,
    "announce": 2,
    "fire_timers": 6,
    "match": 5,
    "pulse": 3,
    "rescue": 3,
    "follow": 3,
    "connect": 6,
    "notice": 2,
    "evict": 1,
    "deploy": 1,
}
"""What happens anyhow, and how often."""
FAULTS: Final[dict[str, int]] = {
    "cut": 3,
    "kill_worker": 2,
    "kill_app": 1,
    "kill_server": 2,
    "lose_answer": 1,
    "freeze": 1,
    "duplicate": 2,
    "repeat": 3,
    "hasten": 2,
}
"""What goes wrong, and how often."""
