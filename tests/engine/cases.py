"""A run that is held, and what is known around it: the cases that decisions are tested on."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from rotor.engine.arrivals import Arrival, FromHolder
from rotor.engine.batch import Outcome, decide_batch
from rotor.engine.run import Known, Run, Signal, Step, StepKey, Wait
from rotor.protocol.messages import RunMessage

RUN = UUID(int=1)
PARENT = UUID(int=2)
CHILD = UUID(int=3)
LEASE = UUID(int=10)
OTHER_LEASE = UUID(int=11)
FRESH = UUID(int=20)
BEGINNING = datetime(2026, 3, 1, 12, tzinfo=UTC)


def held(**changes: Any) -> Run:
    """A run that the holder of `LEASE` has."""
    given: dict[str, Any] = {
        "id": RUN,
        "workspace_id": 1,
        "function_id": "f",
        "status": "running",
        "created_at": BEGINNING,
        "lease_id": LEASE,
    }
    return Run(**{**given, **changes})


def waiting(**changes: Any) -> Run:
    """The same run while nobody holds it and something may wake it."""
    return held(status="waiting", lease_id=None, **changes)


def key(id: str, index: int = 0, run_id: UUID = RUN) -> StepKey:
    return StepKey(run_id, id, index)


def around(
    *steps: tuple[str, Step, Wait | None], signals: dict[str, Signal] | None = None, functions: tuple[str, ...] = ()
) -> Known:
    """What is known: steps of the run by id, each with its wait if it is parked; signals and functions by id."""
    waits = {key(step_id): wait for step_id, _, wait in steps if wait is not None}
    return Known(
        steps={key(step_id): step for step_id, step, _ in steps},
        waits=waits,
        signals={(1, signal_id): signal for signal_id, signal in (signals or {}).items()},
        functions=frozenset((1, function) for function in functions),
        parked=Counter(step.run_id for step in waits),
    )


def says(
    message: RunMessage,
    *,
    lease_id: UUID = LEASE,
    workspace_id: int = 1,
    can_go_on: bool = True,
    connection: int | None = None,
) -> FromHolder:
    """The holder of a lease sends `message`."""
    run_id = UUID(message.run_id)
    return FromHolder(run_id, workspace_id, lease_id, message, FRESH, can_go_on, connection=connection)


def decide(run: Run | list[Run], *arrivals: Arrival | RunMessage, known: Known | None = None) -> Outcome:
    """What `arrivals` come to, with the middle of every jitter."""
    runs = {one.id: one for one in (run if isinstance(run, list) else [run])}
    plain = [
        arrival if not isinstance(arrival, RunMessage) else says(arrival)  # type: ignore[misc, arg-type]
        for arrival in arrivals
    ]
    return decide_batch(runs, known or around(), plain, lambda: 0.5)


def told(outcome: Outcome, lease_id: UUID = LEASE, run_id: UUID = RUN) -> list[Any]:
    """The notices for a run's holder."""
    return outcome.notices.get((lease_id, run_id), [])
