"""Tells whether a run is parked: each of its branches waits on durable waits and on nothing else.

A parked run is given up by its process, so a wrong "parked" would freeze a branch that ordinary I/O is about to wake,
while a wrong "not parked" costs a slot until somebody looks again. So a branch counts as blocked only on what is known:

- it is inside a durable wait;
- it waits for other branches of the run: a task, `gather`, `wait`, `as_completed`, `shield`, a task group (asyncio's or
  anyio's);
- it waits at a lock, event, condition, semaphore, barrier or queue of asyncio that a frame of the run holds as a local
  variable. One that stands in a module or belongs to a connection pool may be released by anybody.

Everything else (a bare future, a timer, a socket, a thread) is *outside*, and so is a branch under an active timeout:
the timeout will wake it. Python has no public way to ask what a task waits for, so this walks the chain of suspended
coroutines and reads their frames; `tests/sdk/test_parking.py` holds each case for every supported Python.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from asyncio import locks, queues, tasks
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, ExitStack
from itertools import pairwise, starmap
from math import isfinite
from types import CodeType, CoroutineType, FrameType, GeneratorType, MethodType
from typing import Any

from rotor.sdk.branches import Branches, Task, blocked_on

__all__ = ["blocked", "timed"]

_WAIT: CodeType = tasks._wait.__code__  # type: ignore[attr-defined]
_WAIT_FOR = tasks.wait_for.__code__
_AS_COMPLETED = getattr(tasks.as_completed, "__code__", None)
_WRAPPERS = frozenset({"async_generator_asend", "async_generator_athrow", "coroutine_wrapper", "anext_awaitable"})
_EXITS = ("__aexit__", "__exit__")
_APART = sys.version_info >= (3, 14)
"""Whether an exit and its context manager stand side by side on a frame's stack, rather than bound to each other."""
_PRIMITIVES = frozenset({locks.__name__, queues.__name__})
_SDK = __file__.removesuffix("parking.py")
_STEPS = f"{_SDK}steps.py"


def blocked(branches: Branches, loose: Iterable[Task]) -> bool:
    """Whether every task of `loose` waits for other branches of the run alone."""
    return all(_waits_inside(branches, task) for task in loose)


def timed(task: Task) -> bool:
    """Whether a timeout will wake `task` from its durable wait."""
    for awaitable in _chain(task):
        file = awaitable.cr_code.co_filename if type(awaitable) is CoroutineType else ""
        if file == _STEPS:  # from the call of a step down to its wait there is no code of an author
            return False
        if not file.startswith(_SDK) and _has_timeout(awaitable):
            return True
    return False


def _waits_inside(branches: Branches, task: Task) -> bool:
    waiter = blocked_on(task)
    if waiter is None or waiter.done():
        return False
    chain = list(_chain(task))
    if any(map(_has_timeout, chain)):
        return False
    if type(waiter) is not asyncio.Future or _shielded(waiter) is not None:
        return _is_inside(branches, waiter)
    return _frames_wait_inside(branches, chain)


def _is_inside(branches: Branches, future: asyncio.Future[Any]) -> bool:
    """Whether branches alone can bring `future` about."""
    if future.done():
        return True
    if isinstance(future, asyncio.Task):
        return future in branches.live
    children = getattr(future, "_children", None)
    if children is not None:  # gather
        return all(_is_inside(branches, child) for child in children)
    inner = _shielded(future)
    return inner is not None and _is_inside(branches, inner)


def _shielded(future: asyncio.Future[Any]) -> asyncio.Future[Any] | None:
    """What `future` shields, if `asyncio.shield` made it."""
    for call_back, _ in future._callbacks or ():
        if getattr(call_back, "__qualname__", "") == "shield.<locals>._outer_done_callback":
            inner: asyncio.Future[Any] = _closure(call_back)["inner"]
            return inner
    return None


def _closure(function: Callable[..., Any]) -> dict[str, Any]:
    code, cells = function.__code__, function.__closure__
    return {name: cell.cell_contents for name, cell in zip(code.co_freevars, cells or (), strict=True)}


def _frames_wait_inside(branches: Branches, chain: list[Any]) -> bool:
    """Whether the innermost frames of a suspended task are a way of waiting that branches alone can end."""
    frames = [frame for awaitable in chain if (frame := _frame(awaitable)) is not None]
    if not frames:
        return False
    innermost = frames[-1]
    if innermost.f_code is _WAIT:
        return innermost.f_locals["timeout_handle"] is None and _all_inside(branches, innermost.f_locals["fs"])
    members = _task_group_members(innermost)
    if members is not None:
        return _all_inside(branches, members)
    primitive = None
    while frames and _module(frames[-1]) in _PRIMITIVES:
        primitive = frames.pop().f_locals["self"]
    if primitive is None:
        return False
    if frames and frames[-1].f_code.co_name == "_wait_for_one" and _module(frames[-1]) == tasks.__name__:
        awaited = _awaited_as_completed(frames[-1], chain)
        return awaited is not None and _all_inside(branches, awaited)
    return _is_local(branches, primitive)


def _all_inside(branches: Branches, futures: Iterable[asyncio.Future[Any]]) -> bool:
    return all(_is_inside(branches, future) for future in futures)


def _task_group_members(frame: FrameType) -> Iterable[asyncio.Future[Any]] | None:
    """The tasks of the task group at whose end `frame` waits."""
    if frame.f_code.co_name not in ("__aexit__", "_aexit"):  # the latter from Python 3.13 on
        return None
    group = frame.f_locals.get("self")
    if getattr(group, "_on_completed_fut", None) is None:
        return None
    members: Iterable[asyncio.Future[Any]] | None = getattr(group, "_tasks", None)
    return members


def _awaited_as_completed(frame: FrameType, chain: list[Any]) -> Iterable[asyncio.Future[Any]] | None:
    """What an `asyncio.as_completed` without a timeout still waits for."""
    iterator = frame.f_locals.get("self")
    if iterator is not None:  # Python 3.13 and later
        return None if iterator._timeout_handle is not None else iterator._todo
    for awaitable in chain:
        for held in gc.get_referents(awaitable):
            if isinstance(held, GeneratorType) and held.gi_code is _AS_COMPLETED and held.gi_frame is not None:
                names = held.gi_frame.f_locals
                return None if names.get("timeout_handle") is not None else names["todo"]
    return None


def _is_local(branches: Branches, primitive: object) -> bool:
    """Whether a frame of the run holds `primitive` in a local variable, and no module of those frames holds it."""
    found = False
    for task in branches.live:
        for awaitable in _chain(task):
            frame = _frame(awaitable)
            if frame is None or _module(frame) in _PRIMITIVES:
                continue
            if _holds(frame.f_globals.values(), primitive):
                return False
            found = found or _holds(frame.f_locals.values(), primitive)
    return found


def _holds(values: Iterable[Any], sought: object) -> bool:
    for value in values:
        if value is sought:
            return True
        if isinstance(value, list | tuple | set | frozenset | dict):
            members = value.values() if isinstance(value, dict) else value
            if any(member is sought for member in members):
                return True
    return False


def _chain(task: Task) -> Iterator[Any]:
    """The suspended coroutines of `task`, from the outermost to the innermost."""
    awaitable: Any = task.get_coro()
    while awaitable is not None:
        yield awaitable
        awaitable = _next(awaitable)


def _next(awaitable: Any) -> Any:
    if type(awaitable) is CoroutineType:
        return awaitable.cr_await
    for attribute in ("cr_await", "ag_await", "gi_yieldfrom"):
        if hasattr(awaitable, attribute):
            return getattr(awaitable, attribute)
    if type(awaitable).__name__ in _WRAPPERS:
        for held in gc.get_referents(awaitable):
            if _frame(held) is not None or type(held).__name__ in _WRAPPERS:
                return held
    return None


def _frame(awaitable: Any) -> FrameType | None:
    for attribute in ("cr_frame", "ag_frame", "gi_frame"):
        frame: FrameType | None = getattr(awaitable, attribute, None)
        if frame is not None:
            return frame
    return None


def _module(frame: FrameType) -> str:
    name: str = frame.f_globals.get("__name__", "")
    return name


def _has_timeout(awaitable: Any) -> bool:
    """Whether a suspended coroutine is within a timeout that it has entered."""
    frame = _frame(awaitable)
    if frame is not None and frame.f_code is _WAIT_FOR and frame.f_locals.get("timeout") is not None:
        return True
    held = gc.get_referents(awaitable)
    return any(map(_is_timeout, held)) or (_APART and any(starmap(_is_timeout_apart, pairwise(held))))


def _is_timeout(held: Any) -> bool:
    """Whether `held`, found on a frame's stack, is the bound exit of an entered context manager with a deadline."""
    return type(held) is MethodType and held.__name__ in _EXITS and _has_deadline(held.__self__)


def _is_timeout_apart(held: Any, manager: Any) -> bool:
    """The same from Python 3.14 on: there the function and the context manager stand side by side."""
    is_exit = held is not None and any(getattr(type(manager), name, None) is held for name in _EXITS)
    return is_exit and _has_deadline(manager)


def _has_deadline(manager: Any) -> bool:
    if isinstance(manager, asyncio.Timeout):
        return manager.when() is not None
    if isinstance(manager, AsyncExitStack | ExitStack):
        entered = (call_back for _, call_back in manager._exit_callbacks)  # type: ignore[union-attr]
        return any(_is_timeout(call_back) for call_back in entered)
    if isinstance(manager, AbstractAsyncContextManager | AbstractContextManager) and hasattr(manager, "gen"):
        return _has_timeout(manager.gen)  # made by @contextmanager or @asynccontextmanager
    deadline = getattr(manager, "deadline", None)  # anyio.CancelScope, async_timeout.Timeout
    return isinstance(deadline, int | float) and isfinite(deadline)
