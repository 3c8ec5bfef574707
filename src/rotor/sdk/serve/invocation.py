"""Runs one invocation: the body of one run, its checkpoints posted to the server while it goes on.

One checkpoint of a run is on its way at a time, and takes all that is ready: answers then come in the order of their
commits, which is the order in which a replay hands results out. The message that ends the invocation (the run
completed, failed, parked ...) is not posted; it rides in the response.

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
from contextvars import Context
from typing import Any, Final

import msgspec

from rotor import limits
from rotor.errors import ApiError, ConnectionLostError
from rotor.protocol.frames import frames
from rotor.protocol.invocations import Invocation, InvocationResult
from rotor.protocol.messages import HolderMessage, HolderSays, LogLine, RunParked
from rotor.sdk.functions import Function
from rotor.sdk.serve.checkpoints import Checkpoints
from rotor.sdk.serve.gathering import Gathering, Taken
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
        self._gathering = Gathering(self._checkpoints)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="rotor-step")

    async def run(
        self, function: Function[Any, Any], invocation: Invocation, is_gone: Callable[[], bool] = lambda: False
    ) -> InvocationResult:
        """Run `function` as far as it goes without waiting; the messages that the server does not have yet.

        `is_gone` tells whether whoever waits for them has hung up.
        """
        held = HeldRun(function, invocation, self._gathering, self._threads, is_gone)
        try:
            if invocation.announce:
                with suppress(ConnectionLostError, ApiError):  # out of reach: the run goes as far as it can without
                    await self._checkpoints.post(invocation.checkpoint_url, invocation.token, [held.said(b"[]")])
            return await held.go()
        finally:
            await held.session.close()


class HeldRun:
    """One run while it is invoked: the channel of its session, and what it has to post."""

    def __init__(
        self,
        function: Function[Any, Any],
        invocation: Invocation,
        gathering: Gathering,
        threads: Executor,
        is_gone: Callable[[], bool],
    ) -> None:
        self.token = invocation.token
        self._url = invocation.checkpoint_url
        self._gathering = gathering
        self._is_gone = is_gone
        self._outgoing: list[HolderSays] = []
        self._frames: list[bytes] = []
        """What did not fit in one checkpoint with what is on its way."""
        self._is_posting = False
        self._is_final = False
        """The message that ends the invocation is ready."""
        self._posts_end = False
        self._changed = asyncio.Event()
        self._failure: Exception | None = None
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
        self._outgoing.append(message)
        if not isinstance(message, LogLine):
            self._is_final = self._is_final or isinstance(message, FINAL_MESSAGES)
            self._stir()
        elif len(self._outgoing) == 1:
            asyncio.get_running_loop().call_later(LOG_LINES_WITHIN_SECONDS, self._stir, context=Context())

    async def go(self) -> InvocationResult:
        self.session.begin()
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._failure is not None:
                return await self._give_back(self._failure)
            if self.session.state == "ended":  # dropped: the run is not ours any more, whatever is on its way
                return InvocationResult(messages=[])
            if self._is_posting:
                continue
            if self._is_final and not self._was_away and not self._is_gone():
                return InvocationResult(messages=[*self._lines, *self.session.unacknowledged])
            if self._is_final:
                self._posts_end = True
                self._post()

    async def _give_back(self, failure: Exception) -> InvocationResult:
        if not isinstance(failure, ConnectionLostError | ApiError):
            raise failure
        log.warning(
            "run %s is given back after its steps in flight: its checkpoints do not reach the server; is its "
            "--public-url right? %s",
            self.session.run_id,
            failure,
            extra={"run_id": self.session.run_id},
        )
        await self.session.release(grace_seconds=STEP_SECONDS_MAX)
        return InvocationResult(messages=[*self._lines, *self.session.unacknowledged])

    @property
    def _lines(self) -> list[LogLine]:
        return [message for message in self._outgoing if isinstance(message, LogLine)]

    # --- what is posted

    def _stir(self) -> None:
        """Have what is ready posted; of what ends the invocation it is decided how it travels."""
        if self._is_posting or self._failure is not None:
            return
        if self._is_final:
            self._changed.set()
        elif self._outgoing:
            self._post()

    def _post(self) -> None:
        self._is_posting = True
        self._gathering.ready(self._url, self)

    def take(self) -> Taken | None:
        """All that is ready, within the limits of a request."""
        if self._frames:
            return Taken(self.said(self._frames.pop(0)), limits.MESSAGES_PER_FRAME)
        if self._is_final and not self._posts_end:
            self._is_posting = False
            self._changed.set()
            return None
        outgoing, self._outgoing, self._is_final = self._outgoing, [], False
        frame, *self._frames = frames(outgoing, bytes_max=limits.REQUEST_BYTES)
        return Taken(self.said(frame), limits.MESSAGES_PER_FRAME if self._frames else len(outgoing))

    def said(self, frame: bytes) -> bytes:
        """A checkpoint of this run with these messages."""
        checkpoint = {"token": self.token, "messages": msgspec.Raw(frame), "settled": self.session.settled}
        return msgspec.json.encode(checkpoint)

    def answered(self, answer: Sequence[HolderMessage]) -> None:
        """Hand the answer to the session."""
        if self.session.state == "ended":
            return
        self._is_posting = False
        try:
            for message in answer:
                self.session.receive(message)
        except Exception as error:
            self.failed(error)
        self._leave_out_overtaken()
        if self._frames and self._failure is None:
            self._post()
        else:
            self._stir()

    def _leave_out_overtaken(self) -> None:
        """A run that would park, and is told of what it waits for, goes on: the invocation does not end with that."""
        if self._is_final and not any(isinstance(message, FINAL_MESSAGES) for message in self.session.unacknowledged):
            self._outgoing = [message for message in self._outgoing if not isinstance(message, RunParked)]
            self._is_final = False

    def failed(self, error: Exception) -> None:
        """Go no further: what was taken reached nobody, or was refused."""
        self._failure = error
        self._changed.set()

    def note_away(self) -> None:
        """The last message may not ride in the response."""
        self._was_away = True
