"""What must hold after a campaign, whatever happened in it."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from tests.campaign import count
from tests.crashes.lab import Lab
from tests.crashes.programs import BODIES

__all__ = ["Sent", "judge", "problems_of"]

Step: TypeAlias = tuple[str, str, int]
"""(run, step, index)."""
FLOWS_WITHIN_SECONDS = 20.0
RETURN_THEIR_STEPS = ("chain", "fan", "flaky", "plain", "echo")
"""Kinds of functions that return the results of their steps, in some order."""


@dataclass
class Sent:
    """What was sent, and answered."""

    events: dict[str, str]
    """By id: the kind of function that it starts; only what was acknowledged."""
    cancelled: set[str]
    """Events whose run was cancelled, and that was acknowledged."""


@dataclass(frozen=True)
class Body:
    """One time that a body of a step ran."""

    pid: int
    began: float
    ended: str
    """"return", "raise", or nothing: it was cut off."""
    value: str


async def judge(lab: Lab, sent: Sent) -> None:
    """Assert it all. Every run has ended."""
    problems = await problems_of(lab, sent)
    tally(lab, "violations", len(problems))
    tally(lab, "programs run under faults", (await lab.bench.rows("SELECT count(*) FROM runs"))[0][0])
    assert problems == [], "\n".join([*problems[:20], *lab.story])
    await flows(lab)


def tally(lab: Lab, name: str, total: int) -> None:
    """Count what has come since the last verdict on this lab."""
    count(name, total - lab.tallied[name])
    lab.tallied[name] = total


async def problems_of(lab: Lab, sent: Sent) -> list[str]:
    """Every violation of a promise, in words."""
    bodies = read_bodies(lab)
    return [
        *await wrong_runs(lab, sent),
        *await wrong_results(lab, bodies),
        *unexplained_bodies(lab, bodies),
        *await wrong_deliveries(lab),
        *await wrong_cancellations(lab, bodies, sent),
        *(f"doctor: {finding}" for finding in await lab.bench.findings()),
        *(f"doctor, under fire: {finding}" for finding in lab.found),
    ]


def read_bodies(lab: Lab) -> dict[Step, list[Body]]:
    """Every body that ran, by step, in order."""
    bodies: dict[Step, list[Body]] = defaultdict(list)
    file = lab.bench.ledger / BODIES
    for text in file.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        step = line["run"], line["step"], line["index"]
        if line["what"] == "begin":
            bodies[step].append(Body(line["pid"], line["at"], "", ""))
            continue
        place = max(n for n, body in enumerate(bodies[step]) if body.pid == line["pid"] and not body.ended)
        begun = bodies[step][place]
        bodies[step][place] = Body(begun.pid, begun.began, line["what"], line["value"])
    return bodies


async def wrong_runs(lab: Lab, sent: Sent) -> list[str]:
    """Every acknowledged event has its one run, every run its right end, and none lost a retry to us."""
    rows = await lab.bench.rows("SELECT event_id, function_id, status, error, parent_run_id FROM runs")
    problems = []
    started: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        if row["parent_run_id"] is None:
            started[row["event_id"]].append(row)
        allowed = {"completed", "cancelled"} if row["event_id"] in sent.cancelled else {"completed"}
        if row["status"] not in allowed:
            problems.append(f"the run of {row['event_id']} ({row['function_id']}) is {row['status']}: {row['error']!r}")
    problems += [
        f"{event} was acknowledged and has {len(started[event])} runs"
        for event in sent.events
        if len(started[event]) != 1
    ]
    return problems + [f"{event} started {len(runs)} runs" for event, runs in started.items() if len(runs) > 1]


async def wrong_results(lab: Lab, bodies: dict[Step, list[Body]]) -> list[str]:
    """Each recorded result is one that a body returned, and what was recorded once stays."""
    problems = []
    recorded = await lab.bench.recorded()
    for key, before in lab.recorded.items():
        if recorded.get(key) != before:
            problems.append(f"step {key} was recorded as {before} and is {recorded.get(key)}")
    for row in await lab.bench.rows("SELECT * FROM steps WHERE op = 'run' AND status = 'completed'"):
        step = str(row["run_id"]), row["id"], row["index"]
        if json.loads(row["output"]) not in [body.value for body in bodies[step] if body.ended == "return"]:
            problems.append(f"no body of {step} returned {row['output']!r}")
    early = await lab.bench.rows(
        """
        SELECT run_id, id FROM steps
        WHERE (op = 'sleep' AND status = 'completed' OR status = 'timed_out') AND ended_at < deadline
        """
    )
    return problems + [f"{tuple(row)} woke early" for row in early] + await foreign_outputs(lab)


async def foreign_outputs(lab: Lab) -> list[str]:
    """A run returns what is recorded of its steps, and nothing else."""
    rows = await lab.bench.rows(
        """
        SELECT runs.id, runs.output, array_agg(steps.output ORDER BY steps.index) AS outputs
        FROM runs JOIN steps ON steps.run_id = runs.id AND steps.op = 'run'
        WHERE runs.status = 'completed' AND split_part(function_id, '-', 2) = ANY ($1::text[]) GROUP BY runs.id
        """,
        RETURN_THEIR_STEPS,
    )
    problems = []
    for row in rows:
        output = json.loads(row["output"])
        given = output if isinstance(output, list) else [output]
        if sorted(given) != sorted(json.loads(one) for one in row["outputs"]):
            problems.append(f"run {row['id']} returned {given}, which its steps did not")
    return problems


def unexplained_bodies(lab: Lab, bodies: dict[Step, list[Body]]) -> list[str]:
    """A body that ran again did so because it raised, or its process was struck; or one that has lost the run and does
    not know it yet began it late."""
    problems = []
    explained = 0
    for step, ran in bodies.items():
        for before, again in pairwise(ran):
            if before.ended == "raise":
                continue
            if step[1] == "once":
                problems.append(f"{step} ran more than once")
            if _is_struck(lab, before, until=again.began) or _is_struck(lab, again, until=again.began):
                explained += 1
            else:
                problems.append(f"{step} ran again at {_clock(lab, again.began)}, and nothing struck {before.pid}")
    tally(lab, "re-executions that a fault explains", explained)
    return problems


def _is_struck(lab: Lab, body: Body, *, until: float) -> bool:
    return any(
        strike.pid == body.pid and strike.began <= until and strike.ended >= body.began - 0.1 for strike in lab.strikes
    )


def _clock(lab: Lab, at: float) -> str:
    return f"{at - time.time() + time.monotonic() - lab._began:.1f} s"


async def wrong_deliveries(lab: Lab) -> list[str]:
    """Signals and events are delivered once, and what a step sent or started is there once."""
    rows = await lab.bench.rows(
        """
        SELECT steps.run_id, steps.id, count(runs.id) AS number
        FROM steps LEFT JOIN runs ON runs.event_id = steps.event_id
        WHERE op = 'send_event' AND steps.status = 'completed' GROUP BY 1, 2 HAVING count(runs.id) <> 1
        """
    )
    problems = [f"{tuple(row)}: an event that a step sent has not started its one run" for row in rows]
    rows = await lab.bench.rows(
        "SELECT id FROM signals WHERE delivered_at IS NULL AND id IN (SELECT 'signal-' || event_id FROM runs)"
    )
    problems += [f"signal {row['id']} is not delivered" for row in rows]
    rows = await lab.bench.rows("SELECT event_id, output FROM runs WHERE function_id LIKE '%-waiting'")
    for row in rows:
        key = row["event_id"]
        event_id, _, signal = json.loads(row["output"] or b"[null, null, null]")
        if (event_id, signal) != (f"news-{key}", f"for {key}"):
            problems.append(f"{key} was given {event_id} and {signal}")
    rows = await lab.bench.rows(
        """
        SELECT parent.event_id FROM runs AS parent LEFT JOIN runs AS child ON child.parent_run_id = parent.id
        WHERE parent.function_id LIKE '%-parent' AND child.status IS DISTINCT FROM 'completed'
        """
    )
    return problems + [f"{row['event_id']} has no completed child" for row in rows]


async def wrong_cancellations(lab: Lab, bodies: dict[Step, list[Body]], sent: Sent) -> list[str]:
    """Nothing of a cancelled run begins after its end."""
    rows = await lab.bench.rows(
        "SELECT id, event_id, extract(epoch FROM ended_at)::float8 AS ended FROM runs WHERE status = 'cancelled'"
    )
    ended = {str(row["id"]): row["ended"] for row in rows}
    late = [
        f"{step} of a cancelled run began after its end"
        for step, ran in bodies.items()
        for body in ran
        if body.began > ended.get(step[0], float("inf")) and not _is_struck(lab, body, until=body.began)
    ]
    return late + [
        f"{row['event_id']} was cancelled by nobody" for row in rows if row["event_id"] not in sent.cancelled
    ]


async def flows(lab: Lab) -> None:
    """Work goes on at once: over both transports."""
    rotor, _ = lab.clients()
    for prefix in ("w", "s"):
        event = await rotor.send(f"{prefix}/chain", {"key": f"{prefix}-after", "seconds": 0.0, "steps": 2})
        (run,) = (await rotor.events.get(event)).runs
        ended = await rotor.runs.wait(run.id, timeout=FLOWS_WITHIN_SECONDS)
        assert ended.status == "completed", lab.story
