"""What of a run somebody looks at: the step beside its graph, and what is unfolded in it; the address has it all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlencode
from uuid import UUID

from starlette.requests import Request

from rotor import limits
from rotor.store.problems import NotFound

__all__ = ["Chosen", "Focus", "focus_of", "group_key", "run_id_of", "step_of"]

UNFOLDED_MAX = 12
"""With one more the first is folded again: each unfolded child is read at every look."""
KEY_CHARACTERS = 36 + 1 + 10 + 1 + limits.ID_CHARACTERS


@dataclass(frozen=True)
class Chosen:
    """A step of the run or of an unfolded child, or the group of steps that it is the first of."""

    run_id: UUID
    step_id: str
    index: int
    is_group: bool = False


@dataclass(frozen=True)
class Focus:
    """What is looked at on the page of `run_id`."""

    run_id: UUID
    chosen: Chosen | None = None
    unfolded: tuple[str, ...] = ()
    """Ids of child runs, and the keys of groups."""

    def choosing(self, run_id: UUID, step_id: str, index: int, *, is_group: bool = False) -> str:
        """The address that shows a step or group beside the graph."""
        return replace(self, chosen=Chosen(run_id, step_id, index, is_group)).address

    def closing(self) -> str:
        """The address with no step beside the graph."""
        return replace(self, chosen=None).address

    def turning(self, key: str) -> str:
        """The address that unfolds `key`, or folds it again."""
        others = tuple(one for one in self.unfolded if one != key)
        more = others if key in self.unfolded else (*others, key)[-UNFOLDED_MAX:]
        return replace(self, unfolded=more).address

    @property
    def address(self) -> str:
        query = self.query
        return f"/dashboard/runs/{self.run_id}" + (f"?{query}" if query else "")

    @property
    def query(self) -> str:
        chosen, fields = self.chosen, []
        if chosen is not None:
            fields = [("step", chosen.step_id), ("index", str(chosen.index))]
            fields += [("of", str(chosen.run_id))] if chosen.run_id != self.run_id else []
            fields += [("group", "1")] if chosen.is_group else []
        return urlencode([*fields, *(("open", key) for key in self.unfolded)])

    def whole(self, what: str) -> str:
        """The address of a whole payload: of the chosen step, or else the run's `event` or `output`."""
        query = replace(self, unfolded=()).query if what == "step" else f"what={what}"
        return f"/dashboard/runs/{self.run_id}/payload?{query}"

    def is_chosen(self, run_id: UUID, step_id: str, index: int) -> bool:
        chosen = self.chosen
        return chosen is not None and (chosen.run_id, chosen.step_id, chosen.index) == (run_id, step_id, index)


def focus_of(request: Request) -> Focus:
    """What an address of a run's page asks for. Raises `NotFound` for what no run can have."""
    query = request.query_params
    run_id = run_id_of(request.path_params["run_id"])
    chosen = None
    if query.get("step"):
        of = run_id_of(query["of"]) if "of" in query else run_id
        chosen = Chosen(of, *step_of(query["step"], query.get("index", "0")), "group" in query)
    unfolded = [key[:KEY_CHARACTERS] for key in query.getlist("open")]
    return Focus(run_id, chosen, tuple(dict.fromkeys(unfolded))[-UNFOLDED_MAX:])


def group_key(run_id: UUID, step_id: str, index: int) -> str:
    """What names the group whose first step this is."""
    return f"{run_id}/{index}/{step_id}"


def run_id_of(text: str) -> UUID:
    """The run that a path names. Raises `NotFound` for what is no run's id."""
    try:
        run_id = UUID(text)
    except ValueError:
        raise NotFound(f"there is no run {text[:64]!r}") from None
    if str(run_id) != text.lower():
        raise NotFound(f"there is no run {text[:64]!r}")
    return run_id


def step_of(step_id: str, index: str) -> tuple[str, int]:
    """The step that a form or an address names. Raises `NotFound` for what is no step's key."""
    is_number = index.isascii() and index.isdecimal() and len(index) <= 9
    if not step_id or "\0" in step_id or not is_number or int(index) > limits.STEPS_PER_RUN:
        raise NotFound(f"the run has no step {step_id[:64]!r}")
    return step_id, int(index)
