"""What an API key allows: its scopes, and the caller that it makes of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args
from uuid import UUID

__all__ = ["EVERYTHING", "SCOPES", "Caller", "Scope"]

Scope: TypeAlias = Literal["send", "read", "operate", "admin"]
"""`send` events and complete signals; `read` everything, payloads too; `operate`: connect workers, register functions,
pause and resume them, cancel and replay runs; `admin`: all of these, and what deletes, makes login links or reads the
audit log."""

SCOPES: tuple[Scope, ...] = get_args(Scope)
EVERYTHING: frozenset[Scope] = frozenset(("admin",))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a workspace, and what the key that speaks for it allows."""

    workspace_id: int
    workspace: str
    scopes: frozenset[Scope]
    key_id: UUID | None = None
    """The key that it asks with; None where none is needed."""
    key_name: str = ""

    def may(self, scope: Scope) -> bool:
        """Whether the key has `scope`, or `admin`, which includes each."""
        return scope in self.scopes or "admin" in self.scopes
