"""The drawings of the documentation, made from the tables that the code decides by.

`python -m tests.docs.drawings` prints them, to be pasted into `docs/concepts/states.md`.
"""

from __future__ import annotations

from collections.abc import Mapping

from rotor.engine.states import RUN_CHANGES, RUN_ENDED, STEP_CHANGES, STEP_ENDED

__all__ = ["ALL", "RUNS", "STEPS"]

STEPS_BEGIN = ("running", "waiting", "completed", "failed", "retrying")
"""A step has no row before its first message; a quick one is first seen at its end."""


def drawn(changes: Mapping[str, Mapping[str, str]], begins: tuple[str, ...], ends: frozenset[str]) -> str:
    lines = ["stateDiagram-v2"]
    lines += [f"    [*] --> {status}" for status in begins]
    lines += [
        f"    {before} --> {after}: {why}" for before, following in changes.items() for after, why in following.items()
    ]
    lines += [f"    {status} --> [*]" for status in changes if status in ends]
    return "\n".join(lines)


RUNS = drawn(dict(RUN_CHANGES), ("queued",), frozenset(RUN_ENDED))
STEPS = drawn(dict(STEP_CHANGES), STEPS_BEGIN, frozenset(STEP_ENDED))
ALL = (RUNS, STEPS)

if __name__ == "__main__":
    print("\n\n".join(ALL))
