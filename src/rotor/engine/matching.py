"""Which events a wait or a trigger takes, and the hash by which an index finds the two for each other.

A match is a set of equalities (path, scalar value) and the rest of a CEL expression. One of the equalities is hashed
with its path into a signed 64-bit integer: a wait is stored under its hash, an event under the hashes of the values it
holds, and only what meets there is tried in full. So equal must mean equal hashes; the converse does not matter.

Values are equal as in CEL and JSON: 1 equals 1.0, `true` equals no number, "1" no number, null only null. A missing key
equals nothing.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from rotor import limits
from rotor.engine.conditions import Candidate, check, condition
from rotor.engine.expressions import split
from rotor.engine.paths import MISSING, look_up, parse_path, path_text
from rotor.errors import ExpressionError, PayloadError

__all__ = ["Candidate", "Match", "event_hashes", "parse_match", "value_hash"]

_EXPRESSIONS_KEPT: Final = 4_096
NO_HASH: Final = 0
NOT_SELECTIVE: Final = 0
_TIME: Final = re.compile(r"\bts\b")


@dataclass(frozen=True)
class Match:
    """What an event must be. `parse_match(rest, dict(equals))` is the same match again."""

    equals: tuple[tuple[str, Any], ...]
    """Canonical path and value, each path once."""
    rest: str | None
    """CEL that is left to judge; None: nothing."""
    index_path: str | None
    """The path of the equality that the index answers; None: none."""
    match_hash: int
    """The hash of that equality; 0: none."""

    @property
    def asks_time(self) -> bool:
        """Whether it may ask for the event's `ts`. Other words that are read as one may be meant."""
        return any(_TIME.search(text) is not None for text in (*(path for path, _ in self.equals), self.rest or ""))

    def accepts(self, event: dict[str, Any] | Candidate) -> bool:
        """Whether `event`, with `id`, `name`, `data` and an aware `ts`, is one of these. A failing expression is not.

        Pass a `Candidate` to try many matches on one event.
        """
        candidate = event if isinstance(event, Candidate) else Candidate(event)
        for path, value in self.equals:
            if not _same(look_up(candidate.event, parse_path(path)), value):
                return False
        return self.rest is None or condition(self.rest).holds(candidate)


def parse_match(expression: str | None, equals: Mapping[str, Any] | None = None) -> Match:
    """The match of a CEL expression, of a mapping of path to value, or of both.

    Raises `ExpressionError`: not CEL, unknown names, over a limit, too costly, a value that is not a scalar.

    >>> match = parse_match('data.contactId == "c1" && data.score > 3')
    >>> match.equals, match.rest, match.index_path
    ((('data.contactId', 'c1'),), 'data.score > 3', 'data.contactId')
    """
    given = _given(equals or {})
    extracted, rest = ((), None) if expression is None else _parsed(expression, frozenset(given))
    required = (*given.items(), *extracted)
    if len(required) > limits.MATCH_PATHS:
        raise ExpressionError(
            f"match requires {len(required)} paths to be equal; the limit is {limits.MATCH_PATHS} (MATCH_PATHS)"
        )
    index = max(required, key=_selectivity, default=None)
    if index is None or _selectivity(index) == NOT_SELECTIVE:
        return Match(required, rest, None, NO_HASH)
    return Match(required, rest, index[0], value_hash(*index) or NO_HASH)


def value_hash(path: str, value: Any) -> int | None:
    """The hash of `value` at the canonical `path`, in the range of a Postgres bigint; None unless it is a scalar.

    Equal values have equal hashes; 0 is never one. Hashes are stored, so they never change.
    """
    match value:
        case None | bool():
            kind, text = "word", repr(value)
        case str():
            kind, text = "text", value
        case int() | float():
            kind, text = "number", repr(_as_float(value))
        case _:
            return None
    digest = hashlib.blake2b(f"{path}\0{kind}\0{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True) or 1


def event_hashes(event: dict[str, Any], paths: Iterable[str]) -> list[int]:
    """The hashes of the scalars that `event` holds at `paths`, which are canonical."""
    found = ((path, look_up(event, parse_path(path))) for path in paths)
    hashes = (value_hash(path, value) for path, value in found if value is not MISSING)
    return [number for number in hashes if number is not None]


def _selectivity(required: tuple[str, Any]) -> int:
    """How well an equality tells events of one name apart. That name itself does not at all."""
    path, value = required
    if path == "name" or path.startswith(("name.", "name[")):
        return NOT_SELECTIVE
    if not path.startswith("data"):
        return 1
    return 2 if value is None or isinstance(value, bool) else 3


@lru_cache(maxsize=_EXPRESSIONS_KEPT)
def _parsed(expression: str, taken: frozenset[str]) -> tuple[tuple[tuple[str, Any], ...], str | None]:
    check(expression)
    equalities, rest = split(expression, taken={parse_path(path) for path in taken})
    if rest is not None:
        condition(rest)
    return tuple((path_text(path), value) for path, value in equalities), rest


def _given(equals: Mapping[str, Any]) -> dict[str, Any]:
    given = {}
    for text, value in equals.items():
        path = _canonical(text)
        if path in given:
            raise ExpressionError(f"match requires {path} twice; leave one out")
        given[path] = value
        _check_value(path, value)
    return given


def _canonical(text: str) -> str:
    try:
        path = path_text(parse_path(text))
    except PayloadError as error:
        raise ExpressionError(f"match path holds {error}") from None
    parse_path(path)  # its canonical text may be longer, and the limit holds for that
    return path


def _check_value(path: str, value: Any) -> None:
    if value is not None and not isinstance(value, str | bool | int | float):
        raise ExpressionError(
            f"match requires {path} to equal a value of type {type(value).__name__}; "
            "give text, a number, a boolean or null"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ExpressionError(f"match requires {path} to equal {value}, which no JSON value is")
    if isinstance(value, str) and not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise ExpressionError(f"match requires {path} to equal a text with a lone surrogate, which is not Unicode")
    if isinstance(value, str) and len(value) > limits.EXPRESSION_CHARACTERS:
        raise ExpressionError(
            f"match requires {path} to equal a text of {len(value):,} characters; "
            f"the limit is {limits.EXPRESSION_CHARACTERS:,} (EXPRESSION_CHARACTERS)"
        )


def _same(found: Any, value: Any) -> bool:
    if isinstance(found, bool) or isinstance(value, bool) or found is None or value is None:
        return found is value
    return isinstance(found, str | int | float) and bool(found == value)


def _as_float(value: float) -> float:
    """The one float of all numbers that are equal to `value`; -0.0 is 0.0."""
    try:
        return float(value) + 0.0
    except OverflowError:
        return math.inf if value > 0 else -math.inf
