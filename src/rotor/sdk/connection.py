"""One WebSocket from a worker to the server: the greeting, coalesced frames both ways, and the heartbeat.

All messages that become ready in one turn of the event loop leave in one frame at its end. While the peer is slow, what
becomes ready meanwhile waits for the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from math import inf
from typing import Final

import msgspec
from picows import WSError, WSHandshakeError, WSUpgradeResponse

from rotor import limits
from rotor.errors import ApiError, ConnectionLostError
from rotor.protocol.frames import frames
from rotor.protocol.messages import Heartbeat, Hello, ServerMessage, Welcome, WorkerMessage, server_frame
from rotor.sdk.http import redirected
from rotor.sdk.websocket import Closed, WebSocket, open_websocket

__all__ = ["Connection", "open_connection"]

GREETING_SECONDS = 10.0
BEATS_A_LEASE: Final = limits.LEASE / limits.HEARTBEAT
LARGE_FRAME_BYTES: Final = 8_192
TURNS_A_FRAME: Final = 3
"""Of the event loop, after a large frame and the turn in which listening ends: its runs are made, go on, are seen at
rest, and their messages are written, before the next frame is taken. Else all that lies in the socket would be taken
first, and the server wait."""
REFUSED = 4400
"""The close code by which the server refuses a greeting for good, with the reason as text."""


class Connection:
    """A greeted connection. Made by `open_connection`."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._outgoing: list[WorkerMessage] = []
        self._early: list[ServerMessage] = []
        """What came in one frame with the greeting."""
        self._writing: asyncio.Handle | None = None
        self._written = asyncio.Event()
        self._written.set()
        self._still_max = inf
        """For how many seconds this process may stand still and keep its lease."""
        self._stirred_at = time.monotonic()
        self._stood_still = 0.0
        socket.on_writable = self._write_in_turn

    def send(self, message: WorkerMessage) -> None:
        """Send `message` with all that is sent in this turn of the event loop."""
        self._outgoing.append(message)
        self._written.clear()
        if self._writing is None:
            self._write_in_turn()

    async def flushed(self) -> None:
        """Until all that was sent is written."""
        await self._written.wait()

    async def listen(self, take: Callable[[list[ServerMessage]], bool]) -> None:
        """Hand the server's messages to `take`, frame by frame, until it says no. Raises `ConnectionLostError`.

        A process that stood still finds in its socket what was sent before others took its runs: none of it is begun.
        """
        goes_on = take(self._early)

        def received(text: bytes) -> None:
            nonlocal goes_on
            self._stir()
            goes_on = take(_decoded(text))
            if not goes_on or len(text) > LARGE_FRAME_BYTES:
                self._socket.stop()
            if self._writing is None:
                # Whoever goes on by what has just come does so in the next turn. This comes after them, and takes with
                # it what they send.
                self._write_in_turn()

        try:
            while goes_on:
                await self._socket.listen(received)
                await _turns(TURNS_A_FRAME)
        except Closed as closed:
            raise ConnectionLostError(str(closed)) from None

    async def greet(self, hello: Hello) -> Welcome:
        """Say who we are; what the server answers. Raises `ApiError` where it refuses for good."""
        self._socket.send(frames([hello], bytes_max=limits.FRAME_BYTES)[0])
        try:
            async with asyncio.timeout(GREETING_SECONDS):
                messages = _decoded(await self._socket.receive())
        except TimeoutError:
            raise ConnectionLostError("the server did not answer the greeting") from None
        except Closed as closed:
            if closed.code == REFUSED:
                raise ApiError(REFUSED, "the server refused the worker", closed.reason) from None
            raise ConnectionLostError(f"{closed} before its greeting") from None
        match messages:
            case [Welcome() as welcome, *early]:
                self._early = early
                self._still_max = BEATS_A_LEASE * welcome.heartbeat_seconds
                return welcome
            case _:
                raise ConnectionLostError("the server did not begin with its greeting")

    async def beat(self, seconds: float) -> None:
        """Send heartbeats, until this process has stood still for too long."""
        try:
            while True:
                await asyncio.sleep(seconds)
                self._stir()
                self.send(Heartbeat())
        except ConnectionLostError as error:
            self._socket.stop(error)

    def _write_in_turn(self) -> None:
        self._writing = self._loop.call_soon(self._write)

    def _write(self) -> None:
        self._writing = None
        if not self._socket.is_writable:
            return  # `on_writable` comes back to it
        outgoing, self._outgoing = self._outgoing, []
        try:
            for frame in frames(outgoing, bytes_max=limits.FRAME_BYTES):
                self._socket.send(frame)
        except Exception as error:  # is for whoever listens: what cannot be sent leaves a run without an answer
            self._socket.stop(error)
        if self._socket.is_writable:
            self._written.set()

    def _stir(self) -> None:
        """Note that this process runs. Raises `ConnectionLostError` once it stood still, stopped or busy, for as long
        as a lease lasts: by the clock that goes on meanwhile."""
        now = time.monotonic()
        still, self._stirred_at = now - self._stirred_at, now
        if still > self._still_max:
            self._stood_still = still
        if self._stood_still:
            raise ConnectionLostError(
                f"this process stood still for {self._stood_still:.0f} s, and may have lost its lease"
            )


@asynccontextmanager
async def open_connection(url: str, api_key: str | None, hello: Hello) -> AsyncIterator[tuple[Connection, Welcome]]:
    """A greeted connection to the server at `url`.

    Raises `ConnectionLostError` where the server cannot be reached, `ApiError` where it refuses.
    """
    try:
        async with _opened(url, api_key) as socket:
            connection = Connection(socket)
            welcome = await connection.greet(hello)
            beating = asyncio.create_task(connection.beat(welcome.heartbeat_seconds))
            try:
                yield connection, welcome
            finally:
                beating.cancel()
                (outcome,) = await asyncio.gather(beating, return_exceptions=True)
                if isinstance(outcome, Exception):
                    raise outcome
    except WSHandshakeError as refused:
        if refused.response is None:
            raise ConnectionLostError(f"{url} does not answer as a server of Rotor: {refused}") from None
        raise _refusal(url, refused.response) from None
    except (WSError, OSError) as error:
        raise ConnectionLostError(f"{url} does not answer: {str(error) or type(error).__name__}") from None


@asynccontextmanager
async def _opened(url: str, api_key: str | None) -> AsyncIterator[WebSocket]:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    address = f"ws{url[len('http') :]}/v1/connect"  # wss for https, in whatever case
    async with AsyncExitStack() as stack:
        opening = open_websocket(address, headers=headers, message_bytes_max=limits.FRAME_BYTES)
        async with asyncio.timeout(GREETING_SECONDS):
            socket = await stack.enter_async_context(opening)
        yield socket


def _refusal(url: str, answer: WSUpgradeResponse) -> ApiError | ConnectionLostError:
    """What an answer without a WebSocket means."""
    status = answer.status
    if status == 429 or status >= 500:
        return ConnectionLostError(f"{url} answered {status.value}")
    if 300 <= status < 400:
        return redirected(url, status.value, status.phrase)
    hint = f"{url} refused the worker; are ROTOR_URL and ROTOR_API_KEY right?"
    return ApiError(status.value, status.phrase, hint)


def _decoded(frame: bytes) -> list[ServerMessage]:
    try:
        return server_frame.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConnectionLostError(f"the server sent a frame that cannot be read: {error}") from None


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
