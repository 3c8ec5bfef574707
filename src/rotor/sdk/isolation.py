"""Awaits a coroutine in a copy of the context: what it does to context variables stays its own.

A replay does not run the body of a step again, so nothing but its result may reach the workflow.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from types import coroutine
from typing import Any, TypeVar

__all__ = ["isolated"]

R = TypeVar("R")


@coroutine
def isolated(work: Coroutine[Any, Any, R]) -> Generator[Any, Any, R]:
    """What `work` returns. It runs in the task that awaits this."""
    run = copy_context().run
    step: Callable[..., Any] = work.send
    given: Any = None
    while True:
        try:
            waiter = run(step, given)
        except StopIteration as end:
            returned: R = end.value
            return returned
        try:
            given = yield waiter
            step = work.send
        except BaseException as error:
            step, given = work.throw, error
