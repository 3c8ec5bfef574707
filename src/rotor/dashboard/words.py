"""Times, sizes and payloads as people read them, and in words why a run waits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from rotor.store.outlines import Beginning, RunOutline, StepOutline
from rotor.store.waiting import Deadline

__all__ = ["beginning", "byte_size", "duration", "instant", "match_text", "minute", "pretty", "reason", "waits_for"]

ONE_LINE = 40


def duration(seconds: float) -> str:
    """About how long, in at most two units."""
    if seconds < 0.0005:
        return "< 1 ms"
    if seconds < 0.9995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def instant(at: datetime) -> str:
    """A time of UTC, to the millisecond."""
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} UTC"


def minute(at: datetime) -> str:
    """A time of UTC, to the minute."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def byte_size(count: int) -> str:
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KB" if count < 1024 * 1024 else f"{count / 1024 / 1024:.1f} MB"


def pretty(payload: Beginning) -> str:
    """A payload's text: indented where all of it is here."""
    if payload.is_whole:
        return msgspec.json.format(payload.head, indent=2).decode("utf-8", "replace")
    return payload.head.decode("utf-8", "ignore")


def beginning(payload: Beginning | None, characters_max: int = ONE_LINE) -> str:
    """A payload on one short line; nothing for none and for null."""
    if payload is None or payload.head == b"null":
        return ""
    return cut(" ".join(payload.head.decode("utf-8", "ignore").split()), characters_max)


def cut(text: str, characters_max: int) -> str:
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


def waits_for(step: StepOutline | Deadline) -> str:
    """What a step waits or waited for."""
    kind, _, name = (step.waits_for or "").partition(":")
    if kind == "event":
        return f"event {name}"
    if kind == "signal":
        return f"signal {name}"
    return "its child run" if step.op == "invoke" else ""


def match_text(step: StepOutline) -> str:
    """What the event that a step waits for must be."""
    parts = []
    if step.equals is not None:
        wanted: dict[str, msgspec.Raw] = msgspec.json.decode(step.equals, type=dict[str, msgspec.Raw])
        parts = [f"{path} == {bytes(value).decode('utf-8', 'replace')}" for path, value in wanted.items()]
    if step.expression:
        parts.append(step.expression)
    return " && ".join(parts)


def reason(run: RunOutline, steps: Sequence[StepOutline]) -> list[str]:
    """Why the run stands where it does; nothing for one that has ended."""
    if run.ended_at is not None:
        return []
    told = []
    if run.cancel_requested_at is not None:
        told.append("Its cancellation is asked for: the step in flight is recorded, and nothing later starts.")
    if run.paused_at is not None:
        told.append(f"The function {run.function_id} is paused: nothing of it starts or goes on until it is resumed.")
    match run.status:
        case "queued":
            told.append(_queued(run))
        case "running":
            told.append(_running(run))
        case _:
            told += _waiting(run, steps)
    return told


def _queued(run: RunOutline) -> str:
    if not run.registered:
        return f"The function {run.function_id} is not registered any more, so nobody can run it."
    if run.due_at is not None and run.due_at > run.now:
        failed = f" after {run.attempt} failed tries" if run.attempt else ""
        return f"It is tried again in {duration((run.due_at - run.now).total_seconds())}{failed}."
    if run.serve_url is not None:
        return "It is due, and waits for the server to call its app."
    if not run.has_workers:
        return "No worker is connected: start one with `rotor worker APP`."
    return "It is due, and waits for a worker that serves its function and has a free slot."


def _running(run: RunOutline) -> str:
    where = "the app at" if run.holder_kind == "invocation" else "worker"
    return f"Its body runs in {where} {run.holder}." if run.holder else "Its body runs."


def _waiting(run: RunOutline, steps: Sequence[StepOutline]) -> list[str]:
    open_steps = [step for step in steps if step.status in ("waiting", "retrying")]
    told = [_open_step(run, step) for step in open_steps[:5]]
    if len(open_steps) > 5:
        told.append(f"And for {len(open_steps) - 5:,} more steps.")
    return told or ["It waits."]


def _open_step(run: RunOutline, step: StepOutline) -> str:
    left = f" in {duration((step.deadline - run.now).total_seconds())}" if step.deadline else ""
    if step.status == "retrying":
        return f"Step {step.id} failed {step.attempts} times and is tried again{left}."
    if step.op == "sleep":
        return f"It sleeps in {step.id}, and wakes{left}."
    match = match_text(step)
    until = f", and gives up{left}" if left else ""
    return f"Step {step.id} waits for {waits_for(step)}{f' where {match}' if match else ''}{until}."
