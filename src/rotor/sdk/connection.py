"""One WebSocket from a worker to the server: the greeting, coalesced frames both ways, and the heartbeat.

All messages that become ready in one turn of the event loop leave in one frame. While a frame is being written (the
peer is slow), what becomes ready meanwhile waits for the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from math import inf
from typing import Final

import aiohttp
import msgspec

from rotor import limits
from rotor.errors import ApiError, ConnectionLostError
from rotor.protocol.frames import frames
from rotor.protocol.messages import Heartbeat, Hello, ServerMessage, Welcome, WorkerMessage, server_frame
from rotor.sdk.http import redirected

__all__ = ["Connection", "open_connection"]

GREETING_SECONDS = 10.0
CLOSE_SECONDS = 2.0
PING_SECONDS = 15.0
"""How often the peer is asked for a sign of life, so that a connection that died silently is noticed."""
BEATS_A_LEASE: Final = limits.LEASE / limits.HEARTBEAT
REFUSED = 4400
"""The close code by which the server refuses a greeting for good, with the reason as text."""


class Connection:
    """A greeted connection. Made by `open_connection`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._outgoing: list[WorkerMessage] = []
        self._early: list[ServerMessage] = []
        """What came in one frame with the greeting."""
        self._ready = asyncio.Event()
        self._written = asyncio.Event()
        self._written.set()
        self._still_max = inf
        """For how many seconds this process may stand still and keep its lease."""
        self._stirred_at = time.monotonic()
        self._stood_still = 0.0

    def send(self, message: WorkerMessage) -> None:
        """Send `message` with all that is sent in this turn of the event loop."""
        self._outgoing.append(message)
        self._ready.set()
        self._written.clear()

    async def flushed(self) -> None:
        """Until all that was sent is written."""
        await self._written.wait()

    async def messages(self) -> AsyncGenerator[list[ServerMessage]]:
        """The server's messages, frame by frame, until the connection ends.

        A process that stood still finds in its socket what was sent before others took its runs: none of it is begun.
        """
        yield self._early
        while True:
            frame = await self._socket.receive()
            if not self._stirs():
                raise ConnectionLostError(
                    f"this process stood still for {self._stood_still:.0f} s, and may have lost its lease"
                )
            if frame.type is aiohttp.WSMsgType.TEXT:
                yield _decoded(frame.data)
            elif frame.type is aiohttp.WSMsgType.CLOSE:
                raise ConnectionLostError(f"the server closed the connection ({frame.data} {frame.extra or ''})")
            elif frame.type is not aiohttp.WSMsgType.BINARY:
                raise ConnectionLostError("the connection broke")

    async def greet(self, hello: Hello) -> Welcome:
        """Say who we are; what the server answers. Raises `ApiError` where it refuses for good."""
        await self._socket.send_frame(frames([hello], bytes_max=limits.FRAME_BYTES)[0], aiohttp.WSMsgType.TEXT)
        try:
            frame = await self._socket.receive(GREETING_SECONDS)
        except TimeoutError:
            raise ConnectionLostError("the server did not answer the greeting") from None
        if frame.type is aiohttp.WSMsgType.CLOSE and frame.data == REFUSED:
            raise ApiError(REFUSED, "the server refused the worker", frame.extra or "")
        messages = _decoded(frame.data) if frame.type is aiohttp.WSMsgType.TEXT else []
        match messages:
            case [Welcome() as welcome, *early]:
                self._early = early
                self._still_max = BEATS_A_LEASE * welcome.heartbeat_seconds
                return welcome
            case _:
                raise ConnectionLostError(f"the server ended the connection before its greeting: {frame.extra or '-'}")

    async def write(self) -> None:
        """Write what is sent, for as long as the connection lasts."""
        try:
            while await self._ready.wait():
                self._ready.clear()
                outgoing, self._outgoing = self._outgoing, []
                for frame in frames(outgoing, bytes_max=limits.FRAME_BYTES):
                    await self._socket.send_frame(frame, aiohttp.WSMsgType.TEXT)
                if not self._outgoing:
                    self._written.set()
        except (aiohttp.ClientError, OSError):
            return
        finally:
            await self._socket.close()  # the reader then ends, and with it the connection

    async def beat(self, seconds: float) -> None:
        """Send heartbeats, until this process has stood still for too long."""
        while True:
            await asyncio.sleep(seconds)
            if not self._stirs():
                await self._socket.close()
                return
            self.send(Heartbeat())

    def _stirs(self) -> bool:
        """Note that this process runs. False once it stood still, stopped or busy, for as long as a lease lasts: by
        the clock that goes on meanwhile."""
        now = time.monotonic()
        still, self._stirred_at = now - self._stirred_at, now
        if still > self._still_max:
            self._stood_still = still
        return not self._stood_still


@asynccontextmanager
async def open_connection(url: str, api_key: str | None, hello: Hello) -> AsyncIterator[tuple[Connection, Welcome]]:
    """A greeted connection to the server at `url`.

    Raises `ConnectionLostError` where the server cannot be reached, `ApiError` where it refuses.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    try:
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(
                aiohttp.ClientSession(headers=headers, timeout=timeout, trace_configs=[_follows_no_redirect(url)])
            )
            connecting = session.ws_connect(
                f"{url}/v1/connect",
                heartbeat=PING_SECONDS,
                max_msg_size=limits.FRAME_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
            )
            async with asyncio.timeout(GREETING_SECONDS):  # a frozen server's port takes connections all the same
                socket = await stack.enter_async_context(connecting)
            connection = Connection(socket)
            welcome = await connection.greet(hello)
            duties = [
                asyncio.create_task(connection.write()),
                asyncio.create_task(connection.beat(welcome.heartbeat_seconds)),
            ]
            try:
                yield connection, welcome
            finally:
                for duty in duties:
                    duty.cancel()
                for outcome in await asyncio.gather(*duties, return_exceptions=True):
                    if isinstance(outcome, Exception):
                        raise outcome
    except aiohttp.WSServerHandshakeError as error:
        if error.status == 429 or error.status >= 500:
            raise ConnectionLostError(f"{url} answered {error.status}") from None
        raise ApiError(
            error.status, error.message, f"{url} refused the worker; are ROTOR_URL and ROTOR_API_KEY right?"
        ) from None
    except (aiohttp.ClientError, OSError) as error:
        raise ConnectionLostError(f"{url} does not answer: {str(error) or type(error).__name__}") from None


def _follows_no_redirect(url: str) -> aiohttp.TraceConfig:
    """`ws_connect` follows redirects, and has no option against it."""

    async def refuse(_: aiohttp.ClientSession, __: object, redirect: aiohttp.TraceRequestRedirectParams) -> None:
        raise redirected(url, redirect.response)

    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(refuse)
    return tracing


def _decoded(frame: str) -> list[ServerMessage]:
    try:
        return server_frame.decode(frame)
    except msgspec.MsgspecError as error:
        raise ConnectionLostError(f"the server sent a frame that cannot be read: {error}") from None
