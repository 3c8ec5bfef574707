"""Times, sizes and payloads as people read them, and in words why a run waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from rotor.store.outlines import Beginning, RunOutline, StepOutline
from rotor.store.waiting import Deadline

__all__ = [
    "OPS",
    "Reason",
    "beginning",
    "byte_size",
    "can_wake",
    "duration",
    "instant",
    "match_text",
    "minute",
    "pretty",
    "reason",
    "waits_for",
]

ONE_LINE = 40
REASONS_MAX = 5

OPS = {
    "run": "step",
    "sleep": "sleep",
    "wait_for_event": "wait for event",
    "invoke": "invoke",
    "send_event": "send event",
    "wait_for_signal": "wait for signal",
}


@dataclass(frozen=True)
class Reason:
    """Why a run waits: a sentence, or one that goes on with when."""

    text: str
    until: datetime | None = None
    step: StepOutline | None = None
    """What waits for that time alone, and so may be woken."""


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


def reason(run: RunOutline, steps: Sequence[StepOutline]) -> list[Reason]:
    """Why the run stands where it does; nothing for one that has ended."""
    if run.ended_at is not None:
        return []
    told = []
    if run.cancel_requested_at is not None:
        told.append(Reason("Its cancellation is asked for: the step in flight is recorded, and nothing later starts."))
    if run.paused_at is not None:
        paused = f"The function {run.function_id} is paused: nothing of it starts or goes on until it is resumed."
        told.append(Reason(paused))
    match run.status:
        case "queued":
            told.append(_queued(run))
        case "running":
            told.append(_running(run, steps))
        case _:
            told += _waiting(steps)
    return told


def _queued(run: RunOutline) -> Reason:
    if not run.registered:
        return Reason(f"The function {run.function_id} is not registered any more, so nobody can run it.")
    if run.due_at is not None and run.due_at > run.now:
        failed = f"Its body failed {_times(run.attempt)} and is" if run.attempt else "It is"
        return Reason(f"{failed} tried again", run.due_at)
    if run.serve_url is not None:
        return Reason("It is due, and waits for the server to call its app.")
    if not run.has_workers:
        return Reason("No worker is connected: start one with `rotor worker APP`.")
    return Reason("It is due, and waits for a worker that serves its function and has a free slot.")


def _running(run: RunOutline, steps: Sequence[StepOutline]) -> Reason:
    where = "the app at" if run.holder_kind == "invocation" else "worker"
    held = f"Its body runs in {where} {run.holder}" if run.holder else "Its body runs"
    busy = [step.title for step in steps if step.status == "running"]
    more = f" and {len(busy) - 2:,} more" if len(busy) > 2 else ""
    return Reason(f"{held}, in step {', '.join(busy[:2])}{more}." if busy else f"{held}.")


def _waiting(steps: Sequence[StepOutline]) -> list[Reason]:
    open_steps = [step for step in steps if step.status in ("waiting", "retrying")]
    told = [_open_step(step) for step in open_steps[:REASONS_MAX]]
    if len(open_steps) > REASONS_MAX:
        told.append(Reason(f"And for {len(open_steps) - REASONS_MAX:,} more steps."))
    return told or [Reason("It waits.")]


def _open_step(step: StepOutline) -> Reason:
    if can_wake(step):
        if step.op == "sleep":
            return Reason(f"It sleeps in {step.title}, and wakes", step.deadline, step)
        return Reason(f"Step {step.title} failed {_times(step.attempts)}, and is tried again", step.deadline, step)
    match = match_text(step)
    told = f"Step {step.title} waits for {waits_for(step)}{f' where {match}' if match else ''}"
    return Reason(f"{told}, and gives up", step.deadline) if step.deadline else Reason(f"{told}.")


def can_wake(step: StepOutline) -> bool:
    """Whether it waits for nothing but time."""
    return step.status in ("waiting", "retrying") and step.deadline is not None and step.op in ("run", "sleep")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
