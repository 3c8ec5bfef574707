"""The functions that the suite runs, by what they are about. Each is started by an event of its own id."""

from __future__ import annotations

from typing import Any

from rotor import Function, create_function
from rotor.sdk.definition import FunctionDecorator

__all__ = ["Function", "KeyData", "workflow"]

KeyData = dict[str, Any]
"""What starts a function: `key`, under which it leaves its notes, and what else it needs."""


def workflow(id: str, *, retries: int = 0) -> FunctionDecorator:
    """A function that an event of its own id starts."""
    return create_function(id=id, trigger={"event": id}, retries=retries)
