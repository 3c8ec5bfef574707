"""The faults that the campaigns promise to inject: whom each strikes, and how."""

from __future__ import annotations

from itertools import product
from typing import Final, TypeAlias

__all__ = [
    "APP_DIES",
    "CUT_OFF",
    "FROZEN",
    "LINKS",
    "LINK_FAULTS",
    "NO_CONNECTION",
    "PROMISED",
    "SERVERS_DIE",
    "WORKER_DIES",
    "Fault",
]

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

SERVERS_DIE: Final = (
    (
        "rotor.store.committer:Committer._write before 9 KILL",
        "rotor.store.intake:Intake._write after 5 KILL",
        "rotor.services.dispatcher:claim_invocations after 5 KILL",
        "rotor.services.matcher:look_at_events before 4 KILL",
        "rotor.store.holders:Holders.start before 5 KILL",
        "rotor.store.signals:complete before 1 KILL",
    ),
    (
        "rotor.store.committer:Committer._write after 9 KILL",
        "rotor.store.committer:write after 9 KILL",
        "rotor.services.dispatcher:claim_runs after 5 KILL",
        "rotor.services.matcher:look_at_fresh_waits before 2 KILL",
        "rotor.store.cancellation:cancel after 1 KILL",
    ),
)
"""Where each of the two servers kills itself, one point after the other (`tests.crashes.launch`)."""
# Fewer than LOSSES: a run may be there each time.
WORKER_DIES: Final = (
    "rotor.sdk.bodies:Bodies._report before 4 KILL",
    "rotor.sdk.session:Session.committed before 4 KILL",
    "rotor.sdk.session:Session._set_parked before 2 KILL",
    "rotor.sdk.held_runs:HeldRuns._begin after 4 KILL",
)
APP_DIES: Final = (
    "rotor.sdk.bodies:Bodies._report before 4 KILL",
    "rotor.sdk.serve.checkpoints:Checkpoints._post before 4 KILL",
    "rotor.sdk.serve.checkpoints:Checkpoints._post after 4 KILL",
    "rotor.sdk.serve.invocation:HeldRun.go after 4 KILL",
)
