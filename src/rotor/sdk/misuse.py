"""How steps are called wrongly, and the errors that say so."""

from __future__ import annotations

from rotor import limits
from rotor.errors import LimitError, NonRetriableError, StepMismatchError
from rotor.protocol.messages import Memo, StepOp
from rotor.sdk.place import CurrentStep, place

__all__ = ["check_id", "misplaced", "mismatched"]


def check_id(id: object, op: StepOp) -> None:
    """Raise `NonRetriableError` or `LimitError` where `id` can name no step."""
    if not isinstance(id, str) or not id:
        raise NonRetriableError(f"step.{op} needs an id that is a text and not empty, not {id!r}")
    if len(id) > limits.ID_CHARACTERS:
        raise LimitError(f"a step id has {len(id):,} characters; the limit is {limits.ID_CHARACTERS} (ID_CHARACTERS)")
    if not id.isascii() and id.encode("utf-8", "replace").decode("utf-8") != id:
        raise NonRetriableError(f"step id {id!a} has a lone surrogate, which is not Unicode text")


def misplaced(id: object, op: StepOp) -> NonRetriableError:
    """A step was called where it can be no step of a workflow."""
    here = place.get()
    if isinstance(here, CurrentStep):
        return NonRetriableError(
            f"step.{op}({id!r}) was called inside the body of step {here.id!r}: a step is recorded as a whole. "
            "Call it in the workflow, after that step"
        )
    return NonRetriableError(
        f"step.{op}({id!r}) was called outside its workflow: call steps in the handler and in the tasks that it starts"
    )


def mismatched(memo: Memo, op: StepOp) -> StepMismatchError:
    """The id of a step was recorded with another op."""
    return StepMismatchError(
        f"step {memo.id!r} (use {memo.index}) was recorded as {memo.op} and is now asked for as {op}: "
        "the code has changed under a run in flight. Give the new step another id"
    )
