"""Runs simulations by seed, counts what they did, and makes one that fails as small as it can be."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from itertools import accumulate
from operator import add
from random import Random
from time import monotonic
from typing import Any

from tests.simulation.oracle import ViolationError
from tests.simulation.programs import Program, describe, draw_program, smaller_programs
from tests.simulation.world import ACTIONS, FAULTS, Action, World

__all__ = ["Case", "Totals", "draw_case", "explain", "run_case", "run_seeds", "shrink"]

ACTIONS_MAX = 200
SHRINKING_SECONDS = 20.0
LINES_MAX = 200
COLLECTED_EVERY = 10
"""How many programs leave their worlds behind before these, each one big cycle, are thrown away."""
NAMES = [*ACTIONS, *FAULTS]
WEIGHTS = list(accumulate([*ACTIONS.values(), *FAULTS.values()]))


@dataclass(frozen=True)
class Case:
    """One simulation, as data."""

    seed: int
    program: Program
    schedule: Sequence[Action]
    trace: Callable[[str], None] | None = field(default=None, repr=False)
    """Is told in words what happens."""

    def __str__(self) -> str:
        lines = []
        for name, function in self.program.items():
            before, after = map(describe, function.versions)
            lines.append(f"  {name}, {function.retries} retries: {before}")
            if before != after:
                lines.append(f"  {name}, after a deploy: {after}")
        lines.append("  then " + ", ".join(f"{name} {pick}" for name, pick in self.schedule))
        return "\n".join(lines)


@dataclass
class Totals:
    """What simulations did."""

    programs: int = 0
    runs: int = 0
    arrivals: int = 0
    """Messages, timers and events that were decided on."""
    commits: int = 0
    faults: int = 0
    executions: int = 0
    repeated: int = 0

    def count(self, world: World) -> None:
        self.programs += 1
        self.runs += len(world.records.runs)
        self.arrivals += world.arrivals
        self.commits += world.commits
        self.faults += world.faults
        self.executions += world.executions
        self.repeated += world.oracle.repeated

    def __add__(self, other: Totals) -> Totals:
        return Totals(*map(add, astuple(self), astuple(other)))


def draw_case(seed: int) -> Case:
    random = Random(seed)
    program = draw_program(random)
    names = random.choices(NAMES, cum_weights=WEIGHTS, k=random.randint(20, ACTIONS_MAX))
    return Case(seed, program, [("start", 0), *((name, random.getrandbits(12)) for name in names)])


def run_case(case: Case, **options: Any) -> World:
    """Raises `ViolationError`, or whatever the engine raises."""
    world = World(case.program, case.seed, trace=case.trace, **options)
    for action in case.schedule:
        world.perform(action)
    world.heal()
    world.oracle.judge()
    return world


def run_seeds(
    first: int,
    *,
    count: int | None = None,
    seconds: float | None = None,
    run: Callable[[Case], World] = run_case,
    every: int = 1,
) -> Totals:
    """Run as many as asked for: `count` seeds from `first` on, of which every so many.

    Raises `ViolationError` with the seed and the smallest case that was found, and where no fault was injected.
    """
    totals, until = Totals(), None if seconds is None else monotonic() + seconds
    seed = first
    with garbage_kept() as collect:
        while (count is None or seed < first + count) and (until is None or monotonic() < until):
            case = draw_case(seed)
            try:
                totals.count(run(case))
            except Exception as error:
                raise ViolationError(_report(case, error, run)) from error
            seed += every
            if totals.programs % COLLECTED_EVERY == 0:
                collect()
    if not totals.faults:
        raise ViolationError("no fault was injected: this campaign shows nothing")
    return totals


@contextmanager
def garbage_kept() -> Iterator[Callable[[], object]]:
    """Nothing is collected meanwhile but by what this gives, which does not go through what was there before."""
    gc.disable()
    try:
        yield partial(gc.collect, 0)
    finally:
        gc.enable()


def _report(case: Case, error: Exception, run: Callable[[Case], Any]) -> str:
    """What a tired human needs: which seed, what goes wrong in the smallest case, and how to see it again."""
    smallest, _ = shrink(case, run)
    happened: list[str] = []
    reason = failure(replace(smallest, trace=happened.append), run)
    options = "" if run is run_case else " --sdk"
    return (
        f"seed {case.seed} breaks a promise: {_title(error)}\n"
        f"again: python -m tests.simulation{options} --seed {case.seed} --count 1\n"
        f"the smallest case that still does:\n{explain(smallest, happened)}\n"
        f"what is wrong then: {type(reason).__name__}: {reason}"
    )


def explain(case: Case, happened: Sequence[str]) -> str:
    """A case, and what happens in it."""
    left_out = len(happened) - LINES_MAX
    more = [f"... {left_out} lines more"] if left_out > 0 else []
    again = f"again, with the names of tests.simulation.programs: {case!r}"
    lines = [f"  {line}" for line in [*more, *happened[-LINES_MAX:]]]
    return "\n".join([str(case), again, "what happens in it:", *lines])


def _title(error: Exception | None) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def failure(case: Case, run: Callable[[Case], Any]) -> Exception | None:
    try:
        run(case)
    except Exception as error:
        return error
    return None


def shrink(case: Case, run: Callable[[Case], Any] = run_case) -> tuple[Case, Exception | None]:
    """Take away actions and operations for as long as it still fails in the same way."""
    reason, until = failure(case, run), monotonic() + SHRINKING_SECONDS
    kind = _kind(reason)

    def fails(candidate: Case) -> bool:
        return monotonic() < until and _kind(failure(candidate, run)) == kind

    smaller = True
    while smaller:
        shorter = _fewer_actions(case, fails)
        simpler = _fewer_operations(shorter, fails)
        case, smaller = simpler, simpler is not case
    return case, failure(case, run)


def _fewer_actions(case: Case, fails: Callable[[Case], bool]) -> Case:
    chunk = len(case.schedule)
    while chunk:
        start = 0
        while start < len(case.schedule):
            candidate = replace(case, schedule=[*case.schedule[:start], *case.schedule[start + chunk :]])
            if fails(candidate):
                case = candidate
            else:
                start += chunk
        chunk //= 2
    return case


def _fewer_operations(case: Case, fails: Callable[[Case], bool]) -> Case:
    smaller = True
    while smaller:
        candidates = (replace(case, program=program) for program in smaller_programs(case.program))
        found = next((candidate for candidate in candidates if fails(candidate)), None)
        case, smaller = found or case, found is not None
    return case


def _kind(error: Exception | None) -> tuple[type, str]:
    return type(error), str(error).partition(":")[0]
