"""The runs that a worker holds: those that are active, and a bounded cache of those that are parked.

A run is active from its `StartRun` until it is parked or has ended. Of the parked sessions those that were parked last
are kept, so that a wake-up needs the changes alone. The server counts them too, and sends any other run from its memo.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from itertools import chain
from typing import Any

from rotor.protocol.messages import Committed, DropRun, HolderMessage, ResumeRun, RunMessage, RunReleased, StartRun
from rotor.sdk.functions import Function
from rotor.sdk.outbox import Channel
from rotor.sdk.session import Session
from rotor.sdk.unwinding import TURNS

__all__ = ["HeldRuns"]

log = logging.getLogger("rotor.worker")


class HeldRuns:
    """The sessions of one worker."""

    def __init__(
        self, functions: Sequence[Function[Any, Any]], channel: Channel, *, parked_max: int, threads: Executor
    ) -> None:
        self.payload_bytes_max = 0
        """As the server's greeting says."""
        self._functions = {function.id: function for function in functions}
        self._channel = channel
        self._parked_max = parked_max
        self._threads = threads
        self._active: dict[str, Session] = {}
        self._parked: OrderedDict[str, Session] = OrderedDict()
        self._left: list[Session] = []
        """Those whose bodies are being left in this turn of the event loop."""
        self._closing: set[asyncio.Task[None]] = set()
        self._accepting = True
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def active(self) -> list[str]:
        """The ids of the runs that are neither parked nor ended."""
        return list(self._active)

    @property
    def unacknowledged(self) -> list[RunMessage]:
        """What the server may not have received, each run's in its order."""
        return list(chain.from_iterable(session.unacknowledged for session in self._active.values()))

    def receive(self, message: HolderMessage) -> None:
        """Pass a message of the server to its runs."""
        if isinstance(message, Committed):
            for run_id, numbers in message.runs.items():
                if session := self._active.get(run_id) or self._parked.get(run_id):
                    session.committed(numbers, message.group)
        elif isinstance(message, StartRun):
            self._start(message)
        elif isinstance(message, ResumeRun):
            self._resume(message)
        elif isinstance(message, DropRun):
            self._drop(message.run_id)
        elif session := self._active.get(message.run_id) or self._parked.get(message.run_id):
            session.receive(message)

    def refuse_more(self) -> None:
        """Give back each run that comes from now on."""
        self._accepting = False

    async def idle(self) -> None:
        """Until no run is active."""
        await self._idle.wait()

    async def release(self) -> None:
        """Give back the runs that are still active, their bodies unwound."""
        await asyncio.gather(*(session.release() for session in self._active.values()))

    async def close(self) -> None:
        """Unwind every body, and forget the runs; nothing is sent."""
        await self._close([*self._active.values(), *self._parked.values()])

    def _start(self, start: StartRun) -> None:
        if parked := self._parked.pop(start.run_id, None):
            self._unwind(parked)
        if self._accepting:
            self._begin(start)
        else:
            self._give_back(start.run_id)

    def _resume(self, resume: ResumeRun) -> None:
        run_id = resume.run_id
        if (parked := self._parked.pop(run_id, None)) and self._accepting:
            self._active[run_id] = parked
            self._idle.clear()
        elif parked:
            self._unwind(parked)
        if session := self._active.get(run_id):
            session.receive(resume)
        else:
            self._give_back(run_id)

    def _drop(self, run_id: str) -> None:
        """Forget a run at once: the server may hand it out again while its body is still being unwound."""
        session = self._active.pop(run_id, None) or self._parked.pop(run_id, None)
        if session is not None:
            self._unwind(session)
        if not self._active:
            self._idle.set()

    def _begin(self, start: StartRun) -> None:
        function = self._functions.get(start.function_id)
        if function is None:
            log.error("the server sent a run of %r, which this worker does not serve", start.function_id)
            self._give_back(start.run_id)
            return
        if stale := self._active.pop(start.run_id, None):
            self._unwind(stale)
        session = Session(
            function,
            start,
            self._channel,
            payload_bytes_max=self.payload_bytes_max,
            threads=self._threads,
            keep=self._parked_max > 0,
            on_state_change=self._moved,
        )
        self._active[start.run_id] = session
        self._idle.clear()
        session.begin()

    def _moved(self, session: Session) -> None:
        """A session has another state."""
        run_id = session.run_id
        if self._active.get(run_id) is not session and self._parked.get(run_id) is not session:
            return  # replaced since
        if session.state == "parked":
            del self._active[run_id]
            self._parked[run_id] = session
            if len(self._parked) > self._parked_max:
                _, oldest = self._parked.popitem(last=False)
                self._unwind(oldest)
        elif session.state == "ended":
            self._active.pop(run_id, None)
            self._parked.pop(run_id, None)
        if not self._active:
            self._idle.set()

    def _give_back(self, run_id: str) -> None:
        self._channel.send(RunReleased(run_id=run_id, n=0))

    def _unwind(self, session: Session) -> None:
        """Close a session that is forgotten already, by one task with the others of this turn of the event loop."""
        session.leave()
        if not self._left:
            task = asyncio.create_task(self._close_left(), name="rotor close runs")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        self._left.append(session)

    async def _close_left(self) -> None:
        left, self._left = self._left, []
        for _ in range(TURNS):
            await asyncio.sleep(0)
            left = [session for session in left if not session.has_left()]
            if not left:
                return
        await asyncio.gather(*(session.close() for session in left))

    async def _close(self, sessions: Iterable[Session]) -> None:
        closing = [session.close() for session in sessions]
        self._active.clear()
        self._parked.clear()
        self._idle.set()
        await asyncio.gather(*closing, *self._closing)
