"""Workflow programs as data: what the bodies of a simulation do.

A step's id says how its function behaves (`TRIES`), so that every version of a program agrees about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias

from rotor.protocol.messages import StepOp

__all__ = [
    "FUNCTIONS",
    "ONCE",
    "TRIES",
    "All",
    "Body",
    "Fail",
    "First",
    "Function",
    "Invoke",
    "Op",
    "Program",
    "Run",
    "Send",
    "Signal",
    "Sleep",
    "Wait",
    "describe",
    "draw_program",
    "smaller_programs",
]

TRIES: Final[dict[str, tuple[int, int]]] = {"a": (0, 0), "b": (1, 2), "c": (9, 1), "d": (2, 2), "once": (0, 0)}
"""By step id: how many tries fail, and how many retries there are."""
ONCE: Final = "once"
"""The id of steps that run at most once."""
EVENTS: Final = ("x", "y")
SIGNALS: Final = ("one", "two", "own")
"""`own` stands for an id that no other run uses."""
FUNCTIONS: Final = ("root", "child", "grandchild")
SECONDS: Final = (0.0, 1.0, 30.0, 3600.0)
SIZES: Final = ((2, 2, 1), (2, 2, 1), (6, 4, 2))
"""How many operations a root, a child and a grandchild have at most. Most programs are small: a fault shows in one too,
which costs less, and of which more happens while faults still come. Some faults need a large one.
"""


@dataclass(frozen=True, slots=True)
class Run:
    id: str
    op: StepOp = "run"


@dataclass(frozen=True, slots=True)
class Sleep:
    id: str
    seconds: float
    op: StepOp = "sleep"


@dataclass(frozen=True, slots=True)
class Wait:
    id: str
    event: str
    wants: int | None
    seconds: float
    op: StepOp = "wait_for_event"


@dataclass(frozen=True, slots=True)
class Signal:
    id: str
    signal: str
    seconds: float
    op: StepOp = "wait_for_signal"


@dataclass(frozen=True, slots=True)
class Invoke:
    id: str
    function: str
    seconds: float
    op: StepOp = "invoke"


@dataclass(frozen=True, slots=True)
class Send:
    id: str
    event: str
    value: int
    op: StepOp = "send_event"


Step: TypeAlias = Run | Sleep | Wait | Signal | Invoke | Send


@dataclass(frozen=True, slots=True)
class All:
    """Branches side by side, all of which are waited for."""

    branches: tuple[Body, ...]


@dataclass(frozen=True, slots=True)
class First:
    """Branches side by side; the first that ends cancels the others."""

    branches: tuple[Body, ...]


@dataclass(frozen=True, slots=True)
class Fail:
    """The body raises, in its first `times` tries."""

    times: int


Op: TypeAlias = Step | All | First | Fail
Body: TypeAlias = tuple[Op, ...]


@dataclass(frozen=True, slots=True)
class Function:
    retries: int
    versions: tuple[Body, Body]
    """The body before and after a deploy."""


Program: TypeAlias = dict[str, Function]
"""By function id. Functions invoke only those after them."""


def draw_program(random: Random) -> Program:
    """A program at random."""
    sizes = random.choice(SIZES)
    return {name: _draw_function(random, place, sizes[place]) for place, name in enumerate(FUNCTIONS)}


def _draw_function(random: Random, place: int, ops_max: int) -> Function:
    children = FUNCTIONS[place + 1 :]
    body = _draw_body(random, children, random.randint(1, ops_max), 0)
    if random.random() < 0.15:
        body = (*body, Fail(random.randint(1, 3)), *_draw_body(random, children, 1, 1))
    changed = _change(random, body, children) if random.random() < 0.4 else body
    return Function(random.randint(0, 2), (body, changed))


def _draw_body(random: Random, children: tuple[str, ...], length: int, depth: int) -> Body:
    return tuple(_draw_op(random, children, depth) for _ in range(length))


def _draw_op(random: Random, children: tuple[str, ...], depth: int) -> Op:
    if depth < 2 and random.random() < 0.25:
        kind = random.choice((All, First))
        branches = random.randint(2, 3)
        return kind(tuple(_draw_body(random, children, random.randint(1, 2), depth + 1) for _ in range(branches)))
    return _draw_step(random, children)


def _draw_step(random: Random, children: tuple[str, ...], id: str | None = None) -> Step:
    seconds = random.choice(SECONDS)
    number = str(random.randint(1, 2))
    match random.randrange(10 if children else 9):
        case 0 | 1 | 2 | 3:
            return Run(id if id in TRIES else random.choice(list(TRIES)))
        case 4:
            return Sleep(id or "sleep" + number, seconds)
        case 5 | 6:
            wants = random.choice((None, 0, 1))
            return Wait(id or "wait" + number, random.choice(EVENTS), wants, seconds)
        case 7:
            return Signal(id or "signal" + number, random.choice(SIGNALS), seconds)
        case 8:
            return Send(id or "send" + number, random.choice(EVENTS), random.randint(0, 1))
        case _:
            return Invoke(id or "invoke" + number, random.choice(children), seconds)


def _change(random: Random, body: Body, children: tuple[str, ...]) -> Body:
    """What a deploy makes of a body: steps come, go, change places, names and kinds."""
    changed = list(body)
    for _ in range(random.randint(1, 2)):
        place = random.randrange(len(changed)) if changed else 0
        match random.randrange(4):
            case 0:
                changed.insert(place, _draw_step(random, children))
            case 1:
                del changed[place : place + 1]
            case 2:
                random.shuffle(changed)
            case _:
                steps = [op for op in changed if not isinstance(op, All | First | Fail)]
                if steps:  # the same id for something else
                    changed[place : place + 1] = [_draw_step(random, children, random.choice(steps).id)]
    return tuple(changed)


def describe(body: Body) -> str:
    """A body in a line: `all(a; sleep1 30 s | first(...))`."""
    return "; ".join(map(_describe, body)) or "nothing"


def _describe(op: Op) -> str:  # noqa: PLR0911  (one for each kind)
    match op:
        case Run(id=id):
            return f"run {id}"
        case Sleep():
            return f"sleep {op.id} {op.seconds:g} s"
        case Wait():
            value = "" if op.wants is None else f" with k={op.wants}"
            return f"wait {op.id} for {op.event}{value}, {op.seconds:g} s"
        case Signal():
            return f"signal {op.id}: {op.signal}, {op.seconds:g} s"
        case Invoke():
            return f"invoke {op.id}: {op.function}, {op.seconds:g} s"
        case Send():
            return f"send {op.id}: {op.event} with k={op.value}"
        case Fail(times=times):
            return f"raise {times} times"
        case All(branches=branches) | First(branches=branches):
            return f"{type(op).__name__.lower()}({' | '.join(map(describe, branches))})"


def smaller_programs(program: Program) -> list[Program]:
    """Every program that has one operation less."""
    found = []
    for name, function in program.items():
        for number, body in enumerate(function.versions):
            for smaller in _smaller(body):
                versions = [*function.versions]
                versions[number] = smaller
                if function.versions[0] == function.versions[1]:
                    versions = [smaller, smaller]
                found.append({**program, name: Function(function.retries, (versions[0], versions[1]))})
    return found


def _smaller(body: Body) -> list[Body]:
    found: list[Body] = []
    for place, op in enumerate(body):
        before, after = body[:place], body[place + 1 :]
        found.append(before + after)
        if isinstance(op, All | First):
            found += [before + branch + after for branch in op.branches]
            for number, branch in enumerate(op.branches):
                for smaller in _smaller(branch):
                    branches = (*op.branches[:number], smaller, *op.branches[number + 1 :])
                    found.append((*before, type(op)(branches), *after))
    return found
