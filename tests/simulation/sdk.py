"""The real SDK in the simulation: it holds the runs of workers, on an event loop whose clock is moved by hand."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from uuid_utils import UUID

from rotor.engine.run import StepKey
from rotor.errors import (
    DurableError,
    SignalTimeoutError,
    StepMismatchError,
    WorkflowTimeoutError,
)
from rotor.protocol.messages import HolderMessage, HolderSays, LogLine, RunMessage, StartRun
from rotor.sdk.context import Context
from rotor.sdk.definition import create_function
from rotor.sdk.functions import Function
from rotor.sdk.held_runs import HeldRuns
from rotor.sdk.place import current_step
from rotor.sdk.session import Session
from rotor.sdk.watch import AGAIN_SECONDS
from tests.simulation.bodies import MISMATCH, BoomError, signal_name
from tests.simulation.campaign import Case
from tests.simulation.programs import (
    ONCE,
    TRIES,
    All,
    Body,
    Fail,
    First,
    Invoke,
    Op,
    Program,
    Run,
    Send,
    Signal,
    Sleep,
    Wait,
)
from tests.simulation.world import Execution, Worker, World, is_served

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["run_case", "run_case_eagerly"]

PARKED_MAX = 2
"""Bodies that a worker keeps: few, so that some have to go."""
TURNS_MAX = 5_000
PAYLOAD_BYTES_MAX = 1_000_000


class NoSelector(selectors.BaseSelector):
    """Nothing ever comes from outside."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)

    def select(self, timeout: float | None = None) -> list[Any]:
        return []

    def get_map(self) -> Any:
        return {}


class Loop(asyncio.SelectorEventLoop):
    """An event loop that is turned and whose clock is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(NoSelector())

    def time(self) -> float:
        return self.now

    def settle(self) -> None:
        """Turn until nothing is left that can go on by itself."""
        with self.running():
            for _ in range(TURNS_MAX):
                if not self._ready:  # type: ignore[attr-defined]
                    return
                self._run_once()  # type: ignore[attr-defined]
        raise AssertionError("the SDK never comes to rest")

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        with self.running():
            self._run_once()  # type: ignore[attr-defined]
        self.settle()

    @contextmanager
    def running(self) -> Iterator[None]:
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)


class Said(list[Any]):
    """The channel of a session that nobody answers."""

    def send(self, message: HolderSays) -> None:
        self.append(message)


class SdkHeld:
    """What a worker holds, by the SDK."""

    def __init__(self, worker: Worker, loop: Loop, threads: Executor) -> None:
        self._worker = worker
        self._loop = loop
        program = worker.world.program
        functions = [_function(worker, name, program, worker.version) for name in program]
        with loop.running():
            self._held = HeldRuns(functions, worker, parked_max=PARKED_MAX, threads=threads)  # type: ignore[arg-type]
        self._held.payload_bytes_max = PAYLOAD_BYTES_MAX

    @property
    def active(self) -> list[str]:
        return self._held.active

    @property
    def unacknowledged(self) -> list[Any]:
        return self._held.unacknowledged

    def session(self, run_id: str) -> Any:
        return self._held._active.get(run_id)

    def receive(self, message: HolderMessage) -> None:
        with self._loop.running():
            self._held.receive(message)

    def rest(self) -> None:
        self._loop.settle()

    def release(self) -> None:
        self._do(self._held.release())

    def evict(self) -> None:
        """The cache is so small that bodies are dropped anyhow."""

    def close(self) -> None:
        self._do(self._held.close())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        with self._loop.running():
            task = self._loop.create_task(work)
        self._loop.settle()
        if task.done():
            task.result()


def _function(worker: Worker | None, name: str, program: Program, version: int) -> Function[Any, Any]:
    body = program[name].versions[version]

    @create_function(id=name, trigger={"event": "start"}, retries=program[name].retries)
    async def handler(ctx: Context[Any]) -> list[Any]:
        return await _run(worker, ctx, body)

    return handler


async def _run(worker: Worker | None, ctx: Context[Any], body: Body) -> list[Any]:
    results = []
    for op in body:
        match op:
            case Fail(times=times):
                if ctx.attempt < times:
                    raise BoomError("by its author")
            case All(branches=branches):
                results.append(await asyncio.gather(*(_run(worker, ctx, branch) for branch in branches)))
            case First(branches=branches):
                results.append(await _first(worker, ctx, branches))
            case _:
                results.append(await _step(worker, ctx, op))
    return results


async def _first(worker: Worker | None, ctx: Context[Any], branches: tuple[Body, ...]) -> list[Any]:
    tasks = [asyncio.create_task(_run(worker, ctx, branch)) for branch in branches]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:  # also where this is a branch that is itself given up: one that went on alone would run its steps in vain
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _step(worker: Worker | None, ctx: Context[Any], op: Op) -> list[Any]:
    try:
        return ["ok", await _call(worker, ctx, op)]
    except StepMismatchError:
        return MISMATCH
    except (SignalTimeoutError, WorkflowTimeoutError):
        return ["timed out"]
    except DurableError as error:
        return ["failed", error.name]
    except TimeoutError:
        return ["timed out"]


async def _call(worker: Worker | None, ctx: Context[Any], op: Op) -> Any:
    step = ctx.step
    match op:
        case Run():
            retries = TRIES[op.id][1]
            return await step.run(op.id, _work, worker, retries=retries, at_most_once=op.id == ONCE)
        case Sleep():
            return await step.sleep(op.id, op.seconds)
        case Wait():
            match = None if op.wants is None else {"data.k": op.wants}
            event = await step.wait_for_event(op.id, event=op.event, match=match, timeout=op.seconds)
            if event is None:
                raise TimeoutError
            return event.id
        case Signal():
            return await step.wait_for_signal(op.id, signal=signal_name(op.signal, ctx.run_id), timeout=op.seconds)
        case Invoke():
            return (await step.invoke(op.id, workflow=op.function, data=None, timeout=op.seconds)).result
        case Send():
            return await step.send_event(op.id, name=op.event, data={"k": op.value})
        case _:
            raise AssertionError(op)


async def _work(worker: Worker | None) -> dict[str, int]:
    """The body of a step: it ends when the schedule says so. On replay none is ever run to its end."""
    if worker is None:
        return await asyncio.Event().wait()  # type: ignore[return-value]
    here = current_step()
    attempt = here.attempt + 1
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def finish(execution: Execution) -> None:
        if not done.done():
            done.set_result(None)

    key = StepKey(UUID(here.run_id), here.id, here.index)
    held: Any = worker.held
    assert worker.lease_id is not None
    number = worker.world.next_execution()
    execution = Execution(number, held.session(here.run_id), key, attempt, worker.lease_id, finish)
    worker.world.begin_body(execution)
    await done
    if attempt <= TRIES[here.id][0]:
        raise BoomError("by its author")
    return execution.result


def run_case(case: Case, *, tasks: Any = None) -> World:
    """Run a case with the SDK as its workers, whose loop has this factory of `tasks`."""
    loop, threads = Loop(), Executor()
    loop.set_task_factory(tasks)

    def replay(start: StartRun, version: int) -> list[RunMessage]:
        if is_served(start.function_id, UUID(start.run_id)):
            return world.replay(start, version)
        said = Said()
        function = _function(None, start.function_id, case.program, version)
        with loop.running():
            session = Session(function, start, said, payload_bytes_max=PAYLOAD_BYTES_MAX, threads=threads, keep=False)
            session.begin()
        loop.settle()
        for _ in range(6):
            loop.sleep(2 * AGAIN_SECONDS[1])
        end = [message for message in said if not isinstance(message, LogLine)]
        with loop.running():
            loop.create_task(session.close())
        loop.settle()
        return end

    world = World(
        case.program, case.seed, hold=lambda worker: SdkHeld(worker, loop, threads), replay=replay, trace=case.trace
    )
    world.settle, world.sleep, world.patience = loop.settle, loop.sleep, 6
    try:
        for action in case.schedule:
            world.perform(action)
        world.heal()
        world.oracle.judge()
    finally:
        for worker in world.workers:
            worker.held.close()
        loop.close()
    return world


def run_case_eagerly(case: Case) -> World:
    """Run a case with the SDK as its workers, where tasks begin at once (Python 3.12)."""
    return run_case(case, tasks=asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
