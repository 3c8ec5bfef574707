"""What an expression may use: the names that exist, and nothing whose cost multiplies.

The CEL library has no limit of its own on cost, and one server judges the expressions of many tenants. So the cost of
an expression may grow with its own length times the size of the event, and no faster. What multiplies is refused with
the reason when the expression is read:

- A loop (`exists`, `exists_one`, `all`) goes over a path of `data`, not over another expression; in its body only its
  own variable and `id`, `name`, `ts` may be used, and neither another loop nor `+` nor `matches`.
- `map` and `filter` copy their list at each element, so there are none.
- Strings and lists are added `ADDITIONS` times at most.
- A pattern of `matches` is compiled at each evaluation, so it is a literal, and short.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rotor.engine.expressions import Token, path_at, string_value
from rotor.engine.paths import Path
from rotor.errors import ExpressionError

__all__ = ["LOOP_ITEMS", "VARIABLES", "check_cost", "check_functions", "patterns_of"]

VARIABLES: Final = ("data", "name", "id", "ts")

LOOP_ITEMS: Final = 10_000
"""Elements of a list or an object that a loop goes over; over a larger one no loop holds."""
ADDITIONS: Final = 8
PATTERNS: Final = 2
PATTERN_CHARACTERS: Final = 128
PATTERN_REPEATS: Final = 64
"""The sum of the counts in `{n}` and `{n,m}` of a pattern."""

_LOOPS: Final = frozenset({"exists", "exists_one", "existsOne", "all"})
_COPIES: Final = frozenset({"map", "filter"})
_TYPES: Final = frozenset({"int", "uint", "double", "string", "bytes", "bool", "list", "map", "null_type", "type"})
_WORDS: Final = frozenset({"true", "false", "null", "in"})
_FUNCTIONS: Final = frozenset(
    {"contains", "startsWith", "endsWith", "matches", "size", "has", "string", "int", "uint", "double", "bytes", "dyn"}
    | {"type", "timestamp", "duration", "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek"}
    | {"getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds"}
)
_COUNT: Final = re.compile(r"\{([0-9]+)(?:,([0-9]*))?\}")
_COUNTED_TWICE: Final = re.compile(r"[)}*+?]\s*\{[0-9]")


@dataclass(frozen=True)
class Loop:
    """A loop of an expression: what it goes over, its variable, and where its body stands among the tokens."""

    over: Path
    variable: str
    body: range


def check_functions(names: list[str]) -> None:
    """Raise `ExpressionError` for a function that does not exist; operators have names that no one can write."""
    for name in names:
        if name.isidentifier() and not name.startswith("_") and name not in _FUNCTIONS:
            raise ExpressionError(f'match expression calls "{name}" in a way that CEL does not know')


def check_cost(tokens: Sequence[Token]) -> tuple[Path, ...]:
    """What the loops of an expression go over. Raises `ExpressionError` for what may not be used, or not there."""
    names = [position for position, token in enumerate(tokens) if token.kind == "name"]
    loops = list(_loops(tokens, [position for position in names if tokens[position].text in _LOOPS | _COPIES]))
    for position in names:
        if _is_variable(tokens, position):
            _check_variable(tokens[position].text, position, loops)
    additions = [position for position, token in enumerate(tokens) if token.text == "+"]
    if len(additions) > ADDITIONS:
        raise ExpressionError(f"match expression adds {len(additions)} times; the limit is {ADDITIONS} (ADDITIONS)")
    patterns = [position for position in names if _is_call(tokens, position, "matches")]
    if len(patterns) > PATTERNS:
        raise ExpressionError(f"match expression has {len(patterns)} patterns; the limit is {PATTERNS} (PATTERNS)")
    for position in additions + patterns:
        if any(position in loop.body for loop in loops):
            raise ExpressionError(
                f'match expression uses "{tokens[position].text}" within a loop, where it costs too much'
            )
    return tuple(loop.over for loop in loops)


def patterns_of(tokens: Sequence[Token]) -> list[str]:
    """The patterns of all `matches`, as their literals stand. Raises `ExpressionError` for one that is too costly."""
    literals = []
    for position, token in enumerate(tokens):
        if token.text == "matches" and _is_call(tokens, position, "matches"):
            pattern = string_value(tokens[position + 2])
            if pattern is None or tokens[position + 3].text != ")":
                raise ExpressionError("match expression needs a plain string as the pattern of matches: r'^a+$'")
            _check_pattern(pattern)
            literals.append(tokens[position + 2].text)
    return literals


def _loops(tokens: Sequence[Token], positions: Sequence[int]) -> Iterator[Loop]:
    """The loops among the names at `positions`. Raises for a loop over anything but a path of data, or within one."""
    paths = [path_at(tokens, position) for position in range(len(tokens))] if positions else []
    over = {path[1] + 1: path[0] for path in paths if path is not None and path[0][0] == "data"}
    end = 0
    for position in positions:
        name = tokens[position].text
        if not _is_call(tokens, position, name):
            continue
        if name in _COPIES:
            raise ExpressionError(f'match expression uses "{name}"; use exists, exists_one or all')
        if position < end:
            raise ExpressionError(f'match expression has "{name}" within a loop, where it costs too much')
        if position not in over:
            raise ExpressionError(f'match expression has "{name}" over something other than a path of data')
        end = _closing(tokens, position + 1)
        yield Loop(over[position], tokens[position + 2].text, range(position + 3, end))


def _check_variable(name: str, position: int, loops: list[Loop]) -> None:
    for loop in loops:
        if loop.variable in VARIABLES:
            raise ExpressionError(f'match expression has a loop whose variable is "{name}"; give it a name of its own')
        if position == loop.body.start - 1 or (position in loop.body and name == loop.variable):
            return
        if position in loop.body and name == "data":
            raise ExpressionError(
                'match expression uses "data" within a loop, where it costs too much; '
                "write the value itself into the expression"
            )
    if name not in VARIABLES and name not in _TYPES:
        raise ExpressionError(f'match expression uses the unknown name "{name}"; there are {", ".join(VARIABLES)}')


def _check_pattern(pattern: str) -> None:
    if len(pattern) > PATTERN_CHARACTERS:
        raise ExpressionError(
            f"match expression has a pattern of {len(pattern)} characters; "
            f"the limit is {PATTERN_CHARACTERS} (PATTERN_CHARACTERS)"
        )
    counts = sum(int(found[2] or found[1]) for found in _COUNT.finditer(pattern))
    if counts > PATTERN_REPEATS:
        raise ExpressionError(
            f"match expression has a pattern that repeats {counts} times by count; "
            f"the limit is {PATTERN_REPEATS} (PATTERN_REPEATS)"
        )
    if _COUNTED_TWICE.search(pattern):
        raise ExpressionError("match expression has a pattern that repeats a group or a repetition by count")


def _is_variable(tokens: Sequence[Token], position: int) -> bool:
    """Whether the name at `position` stands for a value: it is no key, no function and no word of the language."""
    is_key = position > 0 and tokens[position - 1].text == "."
    is_call = position + 1 < len(tokens) and tokens[position + 1].text == "("
    return tokens[position].text not in _WORDS and not is_key and not is_call


def _is_call(tokens: Sequence[Token], position: int, name: str) -> bool:
    """Whether `.name(` stands at `position`."""
    return position > 0 and [token.text for token in tokens[position - 1 : position + 2]] == [".", name, "("]


def _closing(tokens: Sequence[Token], opening: int) -> int:
    """The position of the bracket that closes the one at `opening`."""
    depth = 0
    for position in range(opening, len(tokens)):
        if tokens[position].kind == "sign":
            depth += (tokens[position].text in "([{") - (tokens[position].text in ")]}")
        if depth == 0:
            return position
    raise AssertionError("the library accepted brackets that do not close")
