"""Runs simulations by seed, counts what they did, and makes one that fails as small as it can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import Any

from tests.simulation.oracle import ViolationError
from tests.simulation.programs import Program, draw_program, size, smaller_programs
from tests.simulation.world import ACTIONS, FAULTS, Action, World

__all__ = ["Case", "Totals", "draw_case", "run_case", "run_seeds", "shrink"]

ACTIONS_MAX = 200
SHRINKING_SECONDS = 20.0
NAMES = [*ACTIONS, *FAULTS]
WEIGHTS = [*ACTIONS.values(), *FAULTS.values()]


@dataclass(frozen=True)
class Case:
    """One simulation, as data."""

    seed: int
    program: Program
    schedule: Sequence[Action]

    def __str__(self) -> str:
        lines = [f"seed {self.seed}"]
        lines += [f"  {name}: {function}" for name, function in self.program.items()]
        lines += [f"  {name} {pick}" for name, pick in self.schedule]
        return "\n".join(lines)


@dataclass
class Totals:
    """What simulations did."""

    programs: int = 0
    runs: int = 0
    commits: int = 0
    faults: int = 0
    executions: int = 0
    repeated: int = 0

    def add(self, world: World) -> None:
        self.programs += 1
        self.runs += len(world.records.runs)
        self.commits += world.records.group
        self.faults += world.faults
        self.executions += world.executions
        self.repeated += world.oracle.repeated


def draw_case(seed: int) -> Case:
    random = Random(seed)
    program = draw_program(random)
    names = random.choices(NAMES, WEIGHTS, k=random.randint(20, ACTIONS_MAX))
    return Case(seed, program, [("start", 0), *((name, random.getrandbits(12)) for name in names)])


def run_case(case: Case, **options: Any) -> World:
    """Raises `ViolationError`, or whatever the engine raises."""
    world = World(case.program, case.seed, **options)
    for action in case.schedule:
        world.perform(action)
    world.heal()
    world.oracle.judge()
    return world


def run_seeds(
    first: int, *, count: int | None = None, seconds: float | None = None, run: Callable[[Case], World] = run_case
) -> Totals:
    """Run as many as asked for.

    Raises `ViolationError` with the seed and the smallest case that was found, and where no fault was injected.
    """
    totals, until = Totals(), None if seconds is None else monotonic() + seconds
    seed = first
    while (count is None or seed < first + count) and (until is None or monotonic() < until):
        case = draw_case(seed)
        try:
            totals.add(run(case))
        except Exception as error:
            smallest, reason = shrink(case, run)
            raise ViolationError(
                f"seed {seed} breaks a promise: {type(error).__name__}: {error}\n"
                f"the smallest case that still does ({type(reason).__name__}: {reason}):\n{smallest}"
            ) from error
        seed += 1
    if not totals.faults:
        raise ViolationError("no fault was injected: this campaign shows nothing")
    return totals


def failure(case: Case, run: Callable[[Case], Any]) -> Exception | None:
    try:
        run(case)
    except Exception as error:
        return error
    return None


def shrink(case: Case, run: Callable[[Case], Any] = run_case) -> tuple[Case, Exception | None]:
    """Take away actions and operations for as long as it still fails."""
    reason, until = failure(case, run), monotonic() + SHRINKING_SECONDS
    smaller = True
    while smaller and monotonic() < until:
        smaller = False
        for candidate in _candidates(case):
            if monotonic() > until:
                break
            found = failure(candidate, run)
            if found is not None and _kind(found) == _kind(reason):
                case, reason, smaller = candidate, found, True
                break
    return case, reason


def _kind(error: Exception | None) -> tuple[type, str]:
    return type(error), str(error).partition(":")[0]


def _candidates(case: Case) -> Any:
    length = len(case.schedule)
    chunk = length
    while chunk:
        for start in range(0, length, chunk):
            yield Case(case.seed, case.program, [*case.schedule[:start], *case.schedule[start + chunk :]])
        chunk //= 2
    for program in smaller_programs(case.program):
        if size(program) < size(case.program):
            yield Case(case.seed, program, case.schedule)
