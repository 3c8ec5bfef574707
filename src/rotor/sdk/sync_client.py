"""`SyncRotor`: the client for programs without an event loop; each method is the async one, run on a background loop.

There is no second copy of a signature or a docstring: `Blocking` takes an async method and is, to callers and to type
checkers, the method that waits for it.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar

from rotor.sdk.client import Apps, Events, Functions, Rotor, Runs
from rotor.sdk.loop_thread import shared_loop_thread

__all__ = ["SyncRotor"]

P = ParamSpec("P")
R = TypeVar("R")


class Delegate(Protocol):
    """What a blocking class has: the async object whose methods it runs."""

    @property
    def _target(self) -> Any: ...


class Blocking(Generic[P, R]):
    """An async method as one that waits for its result."""

    def __init__(self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, instance: Delegate, owner: type) -> Callable[P, R]:
        @functools.wraps(self._method)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return shared_loop_thread().run(self._method(instance._target, *args, **kwargs))

        return call


class BlockingIterator(Generic[P, R]):
    """An async generator method as one that gives a plain iterator."""

    def __init__(self, method: Callable[Concatenate[Any, P], AsyncGenerator[R]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, instance: Delegate, owner: type) -> Callable[P, Iterator[R]]:
        @functools.wraps(self._method)
        def call(*args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
            return shared_loop_thread().iterate(self._method(instance._target, *args, **kwargs))

        return call


class SyncRuns:
    """The runs of the workspace: `rotor.runs`."""

    def __init__(self, target: Runs) -> None:
        self._target = target

    get = Blocking(Runs.get)
    list = Blocking(Runs.list)
    cancel = Blocking(Runs.cancel)
    replay = Blocking(Runs.replay)
    wait = Blocking(Runs.wait)
    stream = BlockingIterator(Runs.stream)
    logs = BlockingIterator(Runs.logs)


class SyncEvents:
    """The events of the workspace: `rotor.events`."""

    def __init__(self, target: Events) -> None:
        self._target = target

    get = Blocking(Events.get)


class SyncFunctions:
    """The functions registered in the workspace: `rotor.functions`."""

    def __init__(self, target: Functions) -> None:
        self._target = target

    get = Blocking(Functions.get)
    list = Blocking(Functions.list)
    delete = Blocking(Functions.delete)
    pause = Blocking(Functions.pause)
    resume = Blocking(Functions.resume)


class SyncApps:
    """The apps that serve functions over HTTP: `rotor.apps`."""

    def __init__(self, target: Apps) -> None:
        self._target = target

    register = Blocking(Apps.register)


class SyncRotor:
    """The client of a workspace for programs without an event loop: the methods of `Rotor`, which wait.

        with SyncRotor() as rotor:
            event_id = rotor.send("user.created", {"userId": "123"})

    In an async program use `Rotor`: a blocking call would hold up its event loop.
    """

    def __init__(self, api_key: str | None = None, base_url: str | None = None) -> None:
        self._target = Rotor(api_key, base_url)
        self.base_url = self._target.base_url
        self.runs = SyncRuns(self._target.runs)
        self.events = SyncEvents(self._target.events)
        self.functions = SyncFunctions(self._target.functions)
        self.apps = SyncApps(self._target.apps)

    send = Blocking(Rotor.send)
    send_many = Blocking(Rotor.send_many)
    complete_signal = Blocking(Rotor.complete_signal)
    signal_link = Blocking(Rotor.signal_link)
    close = Blocking(Rotor.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
