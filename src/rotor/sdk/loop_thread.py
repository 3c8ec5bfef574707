"""One event loop on a background thread, for code that has none: the blocking client, and apps on WSGI."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, TypeVar

__all__ = ["LoopThread", "shared_loop_thread"]

R = TypeVar("R")


class LoopThread:
    """A daemon thread that runs an event loop until `close`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="rotor-loop", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """The result of `work`, run on the loop while this thread waits."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("a blocking call of rotor was made on its own event loop; await the async form there")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C while waiting: what nobody waits for any more must not go on
            raise

    def iterate(self, source: AsyncGenerator[R]) -> Iterator[R]:
        """The items of `source`, each awaited on the loop."""

        async def step() -> tuple[R] | None:
            try:
                return (await anext(source),)
            except StopAsyncIteration:
                return None

        try:
            while (item := self.run(step())) is not None:
                yield item[0]
        finally:
            self.run(source.aclose())

    def close(self) -> None:
        """Ends what runs on the loop, and the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()


_shared: LoopThread | None = None
_guard = threading.Lock()


def shared_loop_thread() -> LoopThread:
    """The one background loop of this process, started at first use."""
    global _shared  # noqa: PLW0603  (one a process is its meaning)
    with _guard:
        if _shared is None:
            _shared = LoopThread()
            atexit.register(_shared.close)
        return _shared


def _forget_after_fork() -> None:
    """Threads do not survive a fork: a child process (a preforking web server's) starts its own."""
    global _shared, _guard
    _shared, _guard = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
