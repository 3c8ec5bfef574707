"""How runs end, are lost by their holder, or are cancelled."""

from __future__ import annotations

from msgspec.structs import replace

from rotor import limits
from rotor.engine.arrivals import Arrival, Cancelled, ChildEnded, HolderLost
from rotor.engine.backoff import delay
from rotor.engine.decision import Decision, error_text
from rotor.engine.effects import CancelChildren
from rotor.engine.run import Run
from rotor.protocol.messages import CancelRun, RunStatus

__all__ = ["cancel", "end", "lose"]


def end(run: Run, status: RunStatus, *, output: bytes | None = None, error: bytes | None = None) -> Decision:
    """The run has its outcome; its parent, if one waits, is told in the same transaction."""
    ended = replace(run, status=status, lease_id=None, kept_by=None, due_seconds=None, output=output, error=error)
    then: list[Arrival] = []
    if run.parent is not None:
        then.append(ChildEnded(run.parent, run.id, status, output, error))
    return Decision(ended, [CancelChildren(run.id)] if status == "cancelled" else [], then=then)


def lose(run: Run | None, arrival: HolderLost, jitter: float) -> Decision | None:
    """The holder is gone: another goes on, unless too many were lost in a row without progress between.

    A run that kills its process takes down what shares it. Who was lost in company gets more tries, each later than the
    one before, so that those who are not to blame come to their next step in between.
    """
    if run is None or run.lease_id != arrival.lease_id:
        return None
    if run.cancelling:
        return end(run, "cancelled")
    if arrival.unreached_seconds is not None:
        return Decision(run.queued(seconds=arrival.unreached_seconds))
    losses = run.losses + 1
    most, named = limits.LOSSES, "LOSSES"
    if arrival.company:
        most, named = limits.LOSSES_IN_COMPANY, "LOSSES_IN_COMPANY"
    if losses >= most:
        return end(
            replace(run, losses=losses),
            "failed",
            error=error_text(
                "WorkerLostError",
                f"{losses} workers in a row died or froze while they held this run ({named} is {most}): "
                "look for what the step after the last recorded one does to its process",
            ),
        )
    wait = delay(losses - 1, jitter=jitter).total_seconds() if losses > 1 else 0
    return Decision(run.queued(seconds=wait, losses=losses))


def cancel(run: Run | None, arrival: Cancelled) -> Decision | None:
    """End a run that nobody holds at once; let the holder of any other finish its step in flight."""
    if run is None or run.ended:
        return None
    if run.status == "running":
        return Decision(
            replace(run, cancelling=True), [CancelChildren(run.id)], [CancelRun(run_id=str(arrival.run_id))]
        )
    return end(replace(run, cancelling=True), "cancelled")
