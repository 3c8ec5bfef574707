"""The asyncio tasks of one run: every task that its body starts, and those that its tasks start, is a branch.

A task factory on the loop registers each task that is created in a workflow's place (`rotor.sdk.place`). It hands the
making of tasks to the factory that was there before, so eager and custom ones keep working. The body of a step is
another place: tasks that it starts are no branches.

A replay must start branches in the order in which they started live, and go through them likewise, for the n-th use of
a step id to be the same one. Where asyncio goes by the addresses of tasks or coroutines, it is made to go by their
order.

A branch is *inside* a call while a step holds it, and *loose* otherwise. Only loose branches need looking at to tell
whether the body has come to rest, so that a thousand parked branches cost nothing.
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
from asyncio.events import AbstractEventLoop
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context, copy_context
from itertools import count
from typing import Any
from zlib import crc32

from rotor.sdk.place import Workflow, place

__all__ = ["Branches", "Task", "blocked_on", "track_tasks"]

Task = asyncio.Task[Any]


class Branches(Workflow):
    """The live tasks of one run."""

    def __init__(self, run_id: str, on_finished: Callable[[], None]) -> None:
        # Apart for each run, or the hashes of all runs' first tasks would collide in asyncio's own sets.
        self.numbers = count(crc32(run_id.encode()) << 24)
        self.live: set[Task] = set()
        self.loose: set[Task] = set()
        self.neutral = copy_context()
        """A context outside of any workflow, for call-backs that must not count as the run's."""
        if place.get() is not None:
            self.neutral.run(place.set, None)
        self._on_finished = on_finished
        self._leaving: set[Task] = set()
        self._left = 0

    def add(self, task: Task) -> None:
        if task not in self.live and not task.done():
            self.live.add(task)
            self.loose.add(task)
            task.add_done_callback(self._finished, context=self.neutral)

    def enter(self, task: Task) -> None:
        """A step holds `task` from now on."""
        self.loose.discard(task)
        self._forgive(task)
        self._left += 1

    def leave(self, task: Task) -> None:
        """`task` goes on with the workflow's own code."""
        self._forgive(task)
        if task in self.live:
            self.loose.add(task)

    def calm(self) -> bool:
        """Whether no branch can go on by itself in this turn of the loop: each is blocked on something."""
        if self._left > 4 * len(self.loose) + 64:
            # A set stays as large as it ever was, and each look at it would cost as much.
            self.loose, self._left = set(self.loose), 0
        for task in self.loose:
            waiter = blocked_on(task)
            if waiter is None or waiter.done():
                return False
        return True

    def cancelled(self, task: Task) -> None:
        """`task` has been asked to end. In the body of a step it may take its time, and a replay runs no body."""
        if task in self.live and task not in self.loose:
            self._leaving.add(task)

    @property
    def leaving(self) -> bool:
        """Whether a cancelled branch has still to leave the body of its step."""
        return any(task.cancelling() for task in self._leaving)

    def start(self, work: Coroutine[Any, Any, None], name: str) -> Task:
        """Run `work` as a branch: the task factory sees where."""
        inside = self.neutral.copy()
        inside.run(place.set, self)
        return asyncio.get_running_loop().create_task(work, name=name, context=inside)

    def _finished(self, task: Task) -> None:
        self.live.discard(task)
        self.loose.discard(task)
        self._forgive(task)
        self._on_finished()

    def _forgive(self, task: Task) -> None:
        """Nobody waits for it to leave the body of a step."""
        if self._leaving:
            self._leaving.discard(task)


def blocked_on(task: Task) -> asyncio.Future[Any] | None:
    """The future that `task` is suspended on; None where it is about to run, or has ended."""
    return task._fut_waiter  # type: ignore[attr-defined, no-any-return]  # nothing public tells


class _Branch(asyncio.Task[Any]):
    """A task of a run. Sets of tasks, as `asyncio.wait` gives them, are in the same order on every replay: a plain task
    hashes by its address."""

    __slots__ = ("_branches", "_number")

    def __init__(self, work: Coroutine[Any, Any, Any], *, branches: Branches, **options: Any) -> None:
        self._branches = branches
        self._number = next(branches.numbers)
        super().__init__(work, **options)

    def cancel(self, msg: Any | None = None) -> bool:
        if not super().cancel(msg):
            return False
        self._branches.cancelled(self)
        return True

    def __hash__(self) -> int:
        return self._number


class _TrackingFactory:
    """Makes tasks as the factory before it did, and registers those of workflows."""

    def __init__(self, before: Callable[..., Any] | None) -> None:
        self._before = before
        self._is_eager = before is not None and before is getattr(asyncio, "eager_task_factory", None)

    def __call__(self, loop: AbstractEventLoop, work: Any, *, context: Context | None = None, **options: Any) -> Any:
        # uvloop names options that it leaves unset, which not every factory takes.
        options = {name: value for name, value in options.items() if value is not None}
        if context is not None:
            options["context"] = context
        where = place.get() if context is None else context.get(place)
        if not isinstance(where, Branches):
            return self._before(loop, work, **options) if self._before else asyncio.Task(work, loop=loop, **options)
        task = self._make(where, loop, work, options)
        where.add(task)
        return task

    def _make(self, branches: Branches, loop: AbstractEventLoop, work: Any, options: dict[str, Any]) -> Any:
        if self._is_eager:
            options.setdefault("eager_start", True)
        elif self._before is not None:
            return self._before(loop, work, **options)
        return _Branch(work, loop=loop, branches=branches, **options)


def _coroutines_in_order(items: Iterable[Any] = ()) -> Any:
    """What stands for `set` in the module of `asyncio.as_completed`, which starts coroutines in the order of a set of
    them: that is by address, and another one on every replay."""
    if isinstance(place.get(), Branches):
        items = list(items)
        if any(asyncio.iscoroutine(item) for item in items):
            return dict.fromkeys(items)
    return set(items)


def track_tasks(loop: AbstractEventLoop) -> None:
    """Install the task factory on `loop`, once; again where somebody has replaced it since."""
    vars(asyncio.tasks)["set"] = _coroutines_in_order
    before = loop.get_task_factory()
    if not isinstance(before, _TrackingFactory):
        loop.set_task_factory(_TrackingFactory(before))
