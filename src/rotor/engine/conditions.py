"""A CEL expression as it is judged: checked once, compiled once, tried on many events.

An expression that fails on an event (a missing key, values that do not compare) does not hold for it. The library
takes a third of a second to import, so it is imported when the first expression needs it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from functools import cache, lru_cache
from types import ModuleType
from typing import Any, Final

from rotor import limits
from rotor.engine import expression_cost
from rotor.engine.expressions import tokens_of
from rotor.engine.paths import Path, look_up
from rotor.errors import ExpressionError

__all__ = ["Candidate", "Condition", "check", "condition"]

_CONDITIONS_KEPT: Final = 4_096
_PROBLEM: Final = re.compile(r"<input>:(\d+):(\d+): ([^\n]{1,200})")


class Candidate:
    """One event that several matches are tried on: it is made ready for the library once, when the first needs it."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        self.event = event
        self._context: Any = None

    @property
    def context(self) -> Any:
        """The event as the library takes it. Integers beyond 64 bits become floats in it, as CEL has none."""
        if self._context is None:
            variables = {name: self.event[name] for name in expression_cost.VARIABLES if name in self.event}
            try:
                self._context = _library().Context(variables=variables)
            except (ValueError, OverflowError):
                # An integer over the range of floats, which is rare enough to be looked for only now.
                self._context = _library().Context(variables=_within_float_range(variables))
        return self._context


@dataclass(frozen=True)
class Condition:
    """A compiled expression; `loops` are the paths that its loops go over."""

    program: Any
    loops: tuple[Path, ...]

    def holds(self, candidate: Candidate) -> bool:
        """Whether the expression is true of the event; False where it fails."""
        for path in self.loops:
            items = look_up(candidate.event, path)
            if isinstance(items, Sized) and len(items) > expression_cost.LOOP_ITEMS:
                return False
        try:
            return self.program.execute(candidate.context) is True
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            # Each failure of CEL is another class of Python's; one of the library itself is no Exception at all.
            return False


@lru_cache(maxsize=_CONDITIONS_KEPT)
def condition(expression: str) -> Condition:
    """`expression`, checked and compiled. Raises `ExpressionError`."""
    loops = check(expression)
    # Compared within the library, so that a value that is not a boolean is never copied out of it.
    return Condition(_compiled(f"({expression}\n) == true"), loops)


def check(expression: str) -> tuple[Path, ...]:
    """What the loops of `expression` go over. Raises `ExpressionError` unless it is CEL within the limits."""
    if len(expression) > limits.EXPRESSION_CHARACTERS:
        raise ExpressionError(
            f"match expression is {len(expression):,} characters; "
            f"the limit is {limits.EXPRESSION_CHARACTERS:,} (EXPRESSION_CHARACTERS)"
        )
    if not expression.strip():
        raise ExpressionError("match expression is empty; leave it out to match every event")
    references = _compiled(expression).references()
    tokens = tokens_of(expression)
    loops = expression_cost.check_cost(tokens)
    expression_cost.check_functions(references["functions"])
    if any(name.startswith(".") for name in references["variables"]):
        raise ExpressionError("match expression has a name that begins with a full stop; leave the stop out")
    for pattern in expression_cost.patterns_of(tokens):
        _check_pattern(pattern)
    return loops


def _compiled(expression: str) -> Any:
    try:
        return _library().compile(expression)
    except ValueError as error:
        problem = _PROBLEM.search(str(error))
        where = f" in line {problem[1]}, column {problem[2]}: {problem[3]}" if problem else ""
        raise ExpressionError(f"match expression is not CEL{where}") from None


def _check_pattern(literal: str) -> None:
    try:
        _library().evaluate(f'"".matches({literal})')
    except RuntimeError:
        raise ExpressionError(
            f"match expression has a pattern that cannot be read: {literal} "
            "(look-around and back-references do not exist)"
        ) from None


def _within_float_range(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _within_float_range(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_within_float_range(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            float(value)
        except OverflowError:
            return float("inf") if value > 0 else float("-inf")
    return value


@cache
def _library() -> ModuleType:
    import cel  # noqa: PLC0415

    return cel
