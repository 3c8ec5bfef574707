"""The drawings of the documentation, made from the tables that the code decides by.

`python -m tests.docs.drawings` prints them, to be pasted into `docs/concepts/states.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Final, TypeVar

from rotor.engine.states import RUN_CHANGES, RUN_ENDED, STEP_CHANGES, STEP_ENDED
from rotor.protocol.messages import StepStatus

__all__ = ["ALL", "RUNS", "STEPS"]

S = TypeVar("S", bound=str)

STEPS_BEGIN: Final[tuple[StepStatus, ...]] = ("running", "waiting", "completed", "failed", "retrying")
"""A step has no row before its first message; a quick one is first seen at its end."""


def drawn(changes: Mapping[S, Mapping[S, str]], begins: Sequence[S], ends: Set[S]) -> str:
    lines = ["stateDiagram-v2"]
    lines += [f"    [*] --> {status}" for status in begins]
    lines += [
        f"    {before} --> {after}: {why}" for before, following in changes.items() for after, why in following.items()
    ]
    lines += [f"    {status} --> [*]" for status in changes if status in ends]
    return "\n".join(lines)


RUNS = drawn(RUN_CHANGES, ("queued", "running"), RUN_ENDED)
STEPS = drawn(STEP_CHANGES, STEPS_BEGIN, STEP_ENDED)
ALL = (RUNS, STEPS)

if __name__ == "__main__":
    print("\n\n".join(ALL))  # noqa: T201
