"""What an operation of the API is: declared once, it is routed, checked and described from the same words."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import msgspec

from rotor import limits
from rotor.api.answers import Answer, StreamAnswer
from rotor.api.calls import Call
from rotor.store.scopes import Scope

__all__ = ["Access", "Handler", "Operation", "Result"]

Handler: TypeAlias = Callable[[Call], Awaitable[Answer | StreamAnswer]]
Access: TypeAlias = Scope | Literal["token", "open"]
"""What a caller needs: a key with that scope, the token of an invocation, or nothing."""


@dataclass(frozen=True)
class Result:
    """One answer that an operation gives when it does what it was asked."""

    description: str
    kind: Any = None
    """The type of its JSON; None: it has no body, or one of `content_type`."""
    content_type: str = "application/json"


@dataclass(frozen=True, eq=False)
class Operation:
    """One method of one path."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    """As in `/v1/functions/{function_id}/pause`; any name in it but `run_id` may hold slashes, encoded or not."""
    name: str
    handler: Handler
    summary: str
    results: dict[int, Result]
    tag: str
    access: Access
    body: Any = None
    """The type that the body is decoded into."""
    takes_raw_body: bool = False
    """The body is any JSON, kept as it came."""
    body_bytes_max: int = limits.REQUEST_BYTES
    body_limit: str = "REQUEST_BYTES"
    admit: Callable[[Call], Awaitable[None]] | None = None
    """Refuses who may not call it, before the body is read; beside what `access` asks."""
    query: type[msgspec.Struct] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """Request headers that it heeds, with what each means."""
    problems: tuple[int, ...] = ()
    """The statuses of the problems that are its own, beside those that every operation has."""
    details: str = ""

    @property
    def scope(self) -> Scope | None:
        """The scope that the caller's key must have; None where no key is asked for."""
        match self.access:
            case "token" | "open":
                return None
            case scope:
                return scope

    @property
    def has_body(self) -> bool:
        return self.body is not None or self.takes_raw_body

    @cached_property
    def decoder(self) -> msgspec.json.Decoder[Any]:
        return msgspec.json.Decoder(self.body)

    @cached_property
    def parameters(self) -> list[str]:
        """The names in its path."""
        return re.findall(r"{(\w+)}", self.path)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What the still encoded path must look like."""
        pattern = re.sub(
            r"\\{(\w+)\\}", lambda name: f"(?P<{name[1]}>{_SEGMENTS.get(name[1], '.+')})", re.escape(self.path)
        )
        return re.compile(pattern)


_SEGMENTS = {"run_id": "[^/]+"}
