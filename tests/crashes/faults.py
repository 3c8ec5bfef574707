"""The faults that the campaigns promise to inject: whom each strikes, and how."""

from __future__ import annotations

from itertools import product
from typing import Final, TypeAlias

__all__ = ["CUT_OFF", "FROZEN", "LINKS", "LINK_FAULTS", "NO_CONNECTION", "PROMISED", "Fault"]

Fault: TypeAlias = tuple[str, str]
"""Whom it strikes, and how."""

FROZEN: Final = "SIGSTOP beyond a lease"
NO_CONNECTION: Final = "no connection left"
CUT_OFF: Final = "silent beyond a lease"
"""A link on which nothing passes, and nobody is told."""
LINKS: Final = ("client-server", "worker-server", "server-app", "app-server", "server-postgres")
LINK_FAULTS: Final = (
    "broken", "broken for one end", "half closed", "half a request", "lost answer", "half an answer", "slow", "silent"
)  # fmt: skip

PROMISED: Final[frozenset[Fault]] = frozenset(
    [
        *product(("server", "worker", "app"), ("SIGKILL", "SIGTERM", FROZEN)),
        # To Postgres SIGTERM is a smart stop, SIGINT a fast one, SIGQUIT an immediate one.
        *product(("Postgres",), ("SIGKILL", "SIGTERM", "SIGINT", "SIGQUIT", FROZEN, NO_CONNECTION)),
        *product(LINKS, (*LINK_FAULTS, CUT_OFF)),
    ]
)
"""A campaign in which one of them was never injected has failed."""
