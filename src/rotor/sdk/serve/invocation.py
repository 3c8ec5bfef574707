"""Runs one invocation: the body of one run, its checkpoints posted to the server while it goes on.

One post is on its way at a time, and takes all that is ready: answers then come in the order of their commits, which is
the order in which a replay hands results out. The message that ends the invocation (the run completed, failed, parked
...) is not posted; it rides in the response.

Where the server's call-back cannot be reached, or somebody else answers it, no further step starts, the bodies in
flight end, and the response carries what was not acknowledged, with the run given back: the server writes it and calls
again.
Where it was away for a while, or has hung up, the server that waits for the response is gone, and the last message is
posted too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

from rotor import limits
from rotor.errors import ApiError, ConnectionLostError
from rotor.protocol.frames import frames
from rotor.protocol.messages import HolderSays, Invocation, InvocationResult, LogLine
from rotor.sdk.functions import Function
from rotor.sdk.serve.checkpoints import Checkpoints
from rotor.sdk.session import FINAL_MESSAGES, Session

__all__ = ["Invoker"]

log = logging.getLogger("rotor.serve")

STEP_SECONDS_MAX: Final = 24 * 3600.0
"""How long a step in flight may still take once its server is out of reach."""
LOG_LINES_WITHIN_SECONDS: Final = 0.2
"""How long a log line waits for something to be posted that it can go with."""


class Invoker:
    """Runs the invocations of one app."""

    def __init__(self, keys: Sequence[str], *, threads: int) -> None:
        self._checkpoints = Checkpoints(keys)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="rotor-step")

    async def run(
        self, function: Function[Any, Any], invocation: Invocation, is_gone: Callable[[], bool] = lambda: False
    ) -> InvocationResult:
        """Run `function` as far as it goes without waiting; the messages that the server does not have yet.

        `is_gone` tells whether whoever waits for them has hung up.
        """
        held = HeldRun(function, invocation, self._checkpoints, self._threads, is_gone)
        try:
            return await held.go()
        finally:
            await held.session.close()


class HeldRun:
    """One run while it is invoked: the channel of its session, and the loop that posts."""

    def __init__(
        self,
        function: Function[Any, Any],
        invocation: Invocation,
        checkpoints: Checkpoints,
        threads: Executor,
        is_gone: Callable[[], bool],
    ) -> None:
        self._invocation = invocation
        self._checkpoints = checkpoints
        self._is_gone = is_gone
        self._outgoing: list[HolderSays] = []
        self._changed = asyncio.Event()
        self._was_away = False
        """The server could not be reached for a while: what rides in the response may reach nobody."""
        self.session = Session(
            function,
            invocation.run,
            self,
            payload_bytes_max=invocation.payload_bytes_max,
            threads=threads,
            keep=False,
            on_state_change=lambda _: self._changed.set(),
        )

    def send(self, message: HolderSays) -> None:
        """The channel of the session."""
        if not isinstance(message, LogLine):
            self._changed.set()
        elif not self._outgoing:
            asyncio.get_running_loop().call_later(LOG_LINES_WITHIN_SECONDS, self._changed.set)
        self._outgoing.append(message)

    async def go(self) -> InvocationResult:
        if self._invocation.announce:
            await self._announce()
        self.session.begin()
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._is_final and not self._was_away and not self._is_gone():
                return InvocationResult(messages=[*self._lines, *self.session.unacknowledged])
            if self.session.state == "ended":  # dropped: the run is not ours any more
                return InvocationResult(messages=[])
            try:
                await self._post()
            except (ConnectionLostError, ApiError) as error:
                log.warning(
                    "run %s is given back after its steps in flight: its checkpoints do not reach the server; is its "
                    "--public-url right? %s",
                    self.session.run_id,
                    error,
                    extra={"run_id": self.session.run_id},
                )
                await self.session.release(grace_seconds=STEP_SECONDS_MAX)
                return InvocationResult(messages=[*self._lines, *self.session.unacknowledged])

    async def _announce(self) -> None:
        with suppress(ConnectionLostError, ApiError):  # out of reach: the run goes as far as it can without
            await self._checkpoints.post(self._invocation, b"[]", settled=self.session.settled)

    def _note_away(self) -> None:
        self._was_away = True

    @property
    def _is_final(self) -> bool:
        """Whether the message that ends the invocation is ready."""
        return any(isinstance(message, FINAL_MESSAGES) for message in self._outgoing)

    @property
    def _lines(self) -> list[LogLine]:
        return [message for message in self._outgoing if isinstance(message, LogLine)]

    async def _post(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        for frame in frames(outgoing, bytes_max=limits.REQUEST_BYTES):
            for message in await self._checkpoints.post(
                self._invocation, frame, settled=self.session.settled, on_away=self._note_away
            ):
                self.session.receive(message)
