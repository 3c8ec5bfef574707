"""Paths into an event: `data.contactId`, `data["contact id"]`, `name`, `id`.

One path has one canonical text, so that a path stored with a wait and one stored with an event compare as text. A key
that is no CEL identifier stands in brackets, as a JSON string. A path goes through objects only, never into a list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

from rotor import limits
from rotor.errors import ExpressionError, PayloadError
from rotor.protocol import json

__all__ = ["MISSING", "ROOTS", "Path", "is_storable", "look_up", "parse_path", "path_text"]

Path: TypeAlias = tuple[str, ...]

ROOTS: Final = ("data", "name", "id")
MISSING: Final = object()

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SEGMENT: Final = re.compile(r"""\.(?P<key>[^.\[\]"'\s]+)|\[(?P<quoted>"(?:[^"\\]|\\.)*")\]""")


@lru_cache(maxsize=4096)
def parse_path(text: str) -> Path:
    """The keys of a path, its root first. Raises `ExpressionError`.

    >>> parse_path('data.address["postal code"]')
    ('data', 'address', 'postal code')
    """
    if len(text) > limits.ID_CHARACTERS:
        raise ExpressionError(
            f"match path is {len(text):,} characters; the limit is {limits.ID_CHARACTERS} (ID_CHARACTERS)"
        )
    root = _IDENTIFIER.match(text)
    if root is None or root.group() not in ROOTS:
        raise ExpressionError(f'match path "{text}" must begin with one of {", ".join(ROOTS)}, such as data.contactId')
    keys = [root.group()]
    position = root.end()
    while position < len(text):
        segment = _SEGMENT.match(text, position)
        if segment is None:
            raise ExpressionError(
                f'match path "{text}" cannot be read from character {position + 1}: write data.key or data["any key"]'
            )
        keys.append(_key(text, segment))
        position = segment.end()
    return tuple(keys)


def path_text(path: Path) -> str:
    """The canonical text of a path."""
    return path[0] + "".join(
        f".{key}" if _IDENTIFIER.fullmatch(key) else f"[{json.encode(key).decode()}]" for key in path[1:]
    )


def is_storable(path: Path) -> bool:
    """Whether the canonical text of a path is within the limit, so that `parse_path` takes it."""
    return len(path_text(path)) <= limits.ID_CHARACTERS


def look_up(event: Mapping[str, Any], path: Path) -> Any:
    """The value that `event` holds at `path`, or `MISSING`."""
    value: Any = event
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return MISSING
        value = value[key]
    return value


def _key(text: str, segment: re.Match[str]) -> str:
    if segment["quoted"] is None:
        return segment["key"]
    try:
        return json.decode_as(segment["quoted"], str)
    except PayloadError as error:
        raise ExpressionError(f'match path "{text}" holds a key that is not a JSON string: {error}') from None
