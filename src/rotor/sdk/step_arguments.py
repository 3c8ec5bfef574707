"""Judges the arguments of step calls where they are made: what cannot be sent fails its own step, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from rotor import limits
from rotor.errors import ConfigError, DurationError, ExpressionError, LimitError
from rotor.protocol.durations import parse_instant
from rotor.sdk.codec import encode_value
from rotor.sdk.functions import Function

__all__ = ["function_id", "instant", "looking_back", "matching", "name"]

SLACK = timedelta(days=1)
"""How far the clock here may be off: when a step is due is decided by the database's."""


def name(call: str, argument: str, value: object, what: str) -> str:
    """`value` as the name or id that `call` takes for `argument`. Raises `ConfigError` and `LimitError`."""
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{call} needs {argument}=, {what}, not {value!r}")
    if len(value) > limits.ID_CHARACTERS:
        raise LimitError(
            f"{argument} of {call} has {len(value):,} characters; the limit is {limits.ID_CHARACTERS} (ID_CHARACTERS)"
        )
    if problem := _text_problem(value):
        raise ConfigError(f"{argument} of {call} {problem}")
    return value


def function_id(call: str, workflow: object) -> str:
    """The id of the function that `workflow` names or is. Raises `ConfigError` and `LimitError`."""
    if isinstance(workflow, Function):
        return workflow.id
    return name(call, "workflow", workflow, "a function or its id")


def instant(call: str, argument: str, value: str | datetime) -> datetime:
    """`value` as an instant, no farther ahead than a sleep may last. Raises `DurationError`."""
    at = parse_instant(value)
    if at - datetime.now(UTC) > limits.SLEEP + SLACK:
        raise DurationError(f"{argument} of {call} is more than {limits.SLEEP.days:,} days ahead (SLEEP)")
    return at


def matching(call: str, match: object) -> dict[str, Any]:
    """The fields of `StepParked` that `match` stands for. Raises `ConfigError` and `ExpressionError`."""
    if isinstance(match, Mapping):
        for path in match:
            if not isinstance(path, str) or _text_problem(path):
                raise ConfigError(f"match of {call} has {path!a} for a path: give one such as data.contactId")
        return {"equals": {path: encode_value(value) for path, value in match.items()}}
    if isinstance(match, str) and (problem := _expression_problem(match)):
        raise ExpressionError(f"match of {call} {problem}")
    if match is not None and not isinstance(match, str):
        raise ConfigError(f"match of {call} must be a CEL expression or a mapping of path to value, not {match!r}")
    return {"match": match}


def looking_back(since: str | datetime | None) -> dict[str, Any]:
    """The fields of `StepParked` that `since` stands for. Raises `DurationError`."""
    if since == "now":
        return {"since_now": True}
    return {"since": None if since is None else parse_instant(since)}


def _expression_problem(match: str) -> str | None:
    if len(match) > limits.EXPRESSION_CHARACTERS:
        limit = f"{limits.EXPRESSION_CHARACTERS:,} (EXPRESSION_CHARACTERS)"
        return f"has {len(match):,} characters; the limit is {limit}"
    return _text_problem(match)


def _text_problem(text: str) -> str | None:
    """Why Postgres cannot keep a text."""
    if "\0" in text:
        return "holds a NUL character"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "holds a lone surrogate, which is not Unicode text"
    return None
