"""One request as its handler sees it, and what all handlers share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

from starlette.types import Receive, Scope

from rotor.api.bodies import BodyBudget
from rotor.api.rate_limit import RateLimit
from rotor.api.settings import ApiSettings
from rotor.api.streams import Streams
from rotor.store.keys import Keys
from rotor.store.problems import NotFound
from rotor.store.recent import Recent
from rotor.store.scopes import Caller
from rotor.store.signal_links import SignalLinks
from rotor.store.signing_keys import SigningKeys
from rotor.store.store import Store
from rotor.store.tokens import Claim, Tokens

__all__ = ["Api", "Call", "header"]

NOBODY = Caller(0, "", frozenset())
"""The caller of an operation that asks for no key."""


@dataclass(frozen=True)
class Api:
    """What all handlers of one server share."""

    store: Store
    settings: ApiSettings
    keys: Keys
    signing_keys: SigningKeys
    tokens: Tokens
    signal_links: SignalLinks
    streams: Streams
    workspaces: Recent[str, int]
    """Ids of workspaces by name, which never change."""
    rate_limit: RateLimit | None = None
    bodies: BodyBudget = field(default_factory=BodyBudget)


class Call:
    """One request: who asks (`caller`), for what (`path`, `query`), with what (`body`, `raw_body`)."""

    def __init__(self, api: Api, scope: Scope, receive: Receive, path: dict[str, str]) -> None:
        self.api = api
        self.scope = scope
        self.receive = receive
        self.path = path
        self.caller = NOBODY
        self.query: Any = None
        """The query's parameters, as the operation declares them."""
        self.body: Any = None
        """The body's value, as the operation declares it."""
        self.raw_body = b""
        self.claim: Claim | None = None
        """What the token of an invocation speaks for, where the operation takes one."""

    @property
    def workspace_id(self) -> int:
        return self.caller.workspace_id

    @property
    def store(self) -> Store:
        return self.api.store

    @cached_property
    def headers(self) -> dict[str, str]:
        """Every header by its lower-case name."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.scope["headers"]}

    def run_id(self) -> UUID:
        """The run that the path names. Raises `NotFound` for what is no run's id."""
        text = self.path["run_id"]
        try:
            run_id = UUID(text)
        except ValueError:
            raise NotFound(f"there is no run {text[:64]!r}") from None
        # UUID() also reads braces and a urn: prefix, which are no ids of ours.
        if str(run_id) != text.lower():
            raise NotFound(f"there is no run {text[:64]!r}")
        return run_id


def header(scope: Scope, name: bytes) -> str | None:
    """The first header with this lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None
