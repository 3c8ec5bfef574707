"""Workers connected to this server: one WebSocket each, many runs on it.

What a worker is told in one turn of the event loop goes in one frame, and what it is told while it does not read is
gathered for the next. A worker that does not read, floods or stops its heartbeats is cut off; it may come back on its
lease, to this server or another, and then goes on with the runs that it held.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from rotor import limits
from rotor.engine.arrivals import HolderLost
from rotor.errors import RotorError
from rotor.protocol.frames import frames
from rotor.protocol.messages import (
    PROTOCOL_VERSION,
    DropRun,
    Goodbye,
    Heartbeat,
    Hello,
    LogLine,
    RunCompleted,
    RunMessage,
    RunParked,
    ServerMessage,
    StepDone,
    StepParked,
    Welcome,
    worker_frame,
)
from rotor.services.sockets import FRAMES, Frames
from rotor.store import functions, leases
from rotor.store.checks import name_problem
from rotor.store.message_checks import refusal
from rotor.store.problems import Invalid, is_unavailable
from rotor.store.store import Store

__all__ = ["WorkerConnection", "Workers"]

log = logging.getLogger("rotor.services")

REFUSED = 4400
"""The close code for a worker that would be refused again."""
TRY_AGAIN = 4408
CAME_BACK = "its worker has connected again"
HELLO_WITHIN = 10.0
COMES_BACK_WITHIN = timedelta(seconds=3)
"""After a lost connection. A worker that was killed does not come back, and its runs should not wait for long."""
OUTBOX_MESSAGES = 100_000
NONSENSE: Final = (RotorError, msgspec.MsgspecError, ValueError, RecursionError)
"""What comes of a worker that cannot be served; all else is the server's fault."""


class CutOffError(RotorError):
    """The server ends the connection; the worker may connect again."""


class WorkerConnection:
    """One worker: what it serves, what it holds, and the frames to and from it. `number` counts its connections."""

    def __init__(
        self, store: Store, socket: Frames, workspace_id: int, hello: Hello, lease_id: UUID, *, number: int = 1
    ) -> None:
        self.workspace_id = workspace_id
        self.lease_id = lease_id
        self.number = number
        self.name = hello.worker
        self.function_ids = [function.id for function in hello.manifest.functions]
        self.slots = hello.slots
        self.heard_at = time.monotonic()
        self.draining = False
        self.welcomed = False
        """What it holds and what its lease holds are the same, so that it can be given more."""
        self.in_a_row = 0
        """How many due runs it has been given since there were last as few as it was to have."""
        self._store = store
        self._socket = socket
        self._outbox: list[ServerMessage] = []
        self._packed: deque[bytes] = deque()
        """Frames that are next, of what was in the outbox."""
        self._loop = asyncio.get_running_loop()
        self._attends = False
        self._will_send = True  # once it attends
        self._ended: asyncio.Future[Exception | None] = self._loop.create_future()
        self._held_back: asyncio.Task[None] | None = None

    def open_slots(self) -> int:
        """How many runs it takes at once, as things stand."""
        return self.slots if self.welcomed and not self.draining else 0

    @property
    def free_slots(self) -> int:
        """How many more runs it takes at the moment."""
        return self._store.holders.room(self.lease_id)

    async def attend(self) -> Exception | None:
        """Send what is queued, act on what comes until the connection ends, and return what was wrong with it."""
        self._socket.take(self)
        self._attends = True
        self._send()
        try:
            return await self._ended
        finally:
            self._ended.cancel()
            if self._held_back is not None:
                self._held_back.cancel()

    def deliver(self, messages: Sequence[ServerMessage], now: bool = False) -> None:
        """Tell the worker: `now`, or with all that is said in this turn of the event loop, which costs less where it is
        more than one thing. One that does not read what it is told is cut off."""
        self._outbox += messages
        if now and self._attends:
            self._send()
        elif not self._will_send:
            self._will_send = True
            self._loop.call_soon(self._send)
        if len(self._outbox) > OUTBOX_MESSAGES:
            self.cut_off(f"{OUTBOX_MESSAGES:,} messages wait to be read by the worker")

    def cut_off(self, reason: str) -> None:
        """End the connection, whatever state its socket is in."""
        self._end(CutOffError(reason))

    def received(self, frame: bytes) -> None:
        """Act on a frame of the worker's."""
        if self._ended.done():
            return
        self.heard_at = time.monotonic()
        try:
            for message in worker_frame.decode(frame):
                match message:
                    case StepDone() | RunCompleted() | StepParked() | RunParked():  # nearly all
                        self._take(message)
                    case Heartbeat():
                        pass
                    case Goodbye():
                        self.draining = True
                    case Hello():
                        raise RotorError("a second hello on one connection")
                    case LogLine():
                        self._store.logs.put(self.workspace_id, message)
                    case _:
                        self._take(message)
        except NONSENSE as error:
            self._end(error)
        except Exception:
            log.exception("worker %s said what this server failed to act on, and is to connect again", self.name)
            self.cut_off("the server failed to act on a frame; its log says more")
        if self._store.committer.commits.full and self._held_back is None:
            self._socket.pause()
            self._held_back = self._loop.create_task(self._hold_back())

    def writable(self) -> None:
        """The worker reads again."""
        self._send()

    def lost(self) -> None:
        """The connection is closed."""
        self._end(None)

    def _end(self, fault: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(fault)

    def _send(self) -> None:
        """Send what is queued, frame after frame, as long as the worker reads."""
        try:
            while self._socket.is_writable():
                if not self._packed:
                    self._packed.extend(frames(self._outbox))
                    self._outbox = []
                if not self._packed:
                    self._will_send = False
                    return
                self._socket.send_frame(self._packed.popleft())
        except Exception:  # must not pass for a failure of whoever tells it, which may be a commit
            log.exception("worker %s cannot be told what it is to know, and is to connect again", self.name)
            self.cut_off("the server failed to write what it had to say; its log says more")

    async def _hold_back(self) -> None:
        """Read no more of the worker until there is room for it."""
        await self._store.committer.commits.room()
        self._held_back = None
        self._socket.resume()

    def _take(self, message: RunMessage) -> None:
        """Have it committed, unless it cannot be kept; the answer comes through `deliver`."""
        refused = refusal(message, payload_bytes_max=self._store.payload_bytes_max)
        if refused is None:
            self._store.committer.put(self.workspace_id, self.lease_id, message, connection=self.number)
        else:
            self.deliver([refused])


class Workers:
    """The workers connected to this server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.connections: dict[UUID, WorkerConnection] = {}
        self._stopping = False

    async def serve(self, websocket: WebSocket, workspace_id: int) -> None:
        """Serve one connection from its hello to its end. The caller has authenticated it."""
        await websocket.accept()
        socket: Frames = websocket.scope["extensions"][FRAMES]
        try:
            hello = await self._hello(websocket)
            connection = await self._welcome(socket, workspace_id, hello)
        except CutOffError as error:
            await _close(websocket, TRY_AGAIN, str(error))
            return
        except NONSENSE as error:
            await _close(websocket, REFUSED, str(error)[:120])
            return
        try:
            fault = await connection.attend()
        finally:
            if not socket.is_writable():  # a worker that does not read would not read why, either
                socket.abort()
            await self._left(connection)
        if fault is not None:
            log.warning("worker %s is cut off: %s", connection.name, fault)
            await _close(websocket, TRY_AGAIN if isinstance(fault, CutOffError) else REFUSED, str(fault)[:120])

    async def _hello(self, websocket: WebSocket) -> Hello:
        try:
            async with asyncio.timeout(HELLO_WITHIN):
                message = await websocket.receive()
        except TimeoutError:
            raise CutOffError(f"no hello came within {HELLO_WITHIN:.0f} s") from None
        if message["type"] != "websocket.receive":
            raise RotorError("closed before its hello")
        messages = worker_frame.decode(message.get("text") or message.get("bytes") or b"")
        if len(messages) != 1 or not isinstance(hello := messages[0], Hello):
            raise RotorError("the first frame is a hello, alone")
        if hello.protocol != PROTOCOL_VERSION:
            raise RotorError(
                f"protocol {hello.protocol} is not {PROTOCOL_VERSION}: install the same rotorsh on both sides"
            )
        if not 0 < hello.slots <= limits.WORKER_SLOTS:
            raise RotorError(f"slots must be 1 to {limits.WORKER_SLOTS} (WORKER_SLOTS)")
        if problem := name_problem(hello.worker):
            raise RotorError(f"the worker's name {problem}")
        return hello

    async def _welcome(self, socket: Frames, workspace_id: int, hello: Hello) -> WorkerConnection:
        try:
            return await self._let_in(socket, workspace_id, hello)
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.warning(
                "worker %s is not let in, and tries again: the database does not answer (%s)",
                hello.worker,
                type(error).__name__,
            )
            raise CutOffError("the database does not answer") from None

    async def _let_in(self, socket: Frames, workspace_id: int, hello: Hello) -> WorkerConnection:
        store, manifest = self._store, hello.manifest
        try:
            await functions.register(
                store.database, workspace_id, manifest.functions, app=manifest.app, version=manifest.version
            )
        except Invalid as invalid:
            raise RotorError(f"these functions cannot be registered: {invalid}") from None
        lease_id = UUID(hello.lease_id) if hello.lease_id else None
        number = await leases.resume(store.database, workspace_id, lease_id) if lease_id is not None else None
        if lease_id is None or number is None:
            lease_id, number = await leases.open_lease(store.database, workspace_id, hello), 1
        connection = WorkerConnection(store, socket, workspace_id, hello, lease_id, number=number)
        if (other := self.connections.get(lease_id)) is not None:
            if other.number > number:
                raise CutOffError(CAME_BACK)
            other.cut_off(CAME_BACK)
        store.holders.add(
            lease_id,
            connection.deliver,
            slots=connection.open_slots,
            connection=number,
            keeps=hello.keeps,
            serves=[(workspace_id, function_id) for function_id in connection.function_ids],
        )
        self.connections[lease_id] = connection
        welcome = Welcome(
            lease_id=str(lease_id),
            heartbeat_seconds=limits.HEARTBEAT.total_seconds(),
            payload_bytes_max=store.payload_bytes_max,
        )
        connection.deliver([welcome])
        try:
            await self._reconcile(connection, hello)
        except BaseException:
            await self._left(connection)
            raise
        connection.welcomed = not self._stopping
        store.changes.queued.set()
        return connection

    async def _reconcile(self, connection: WorkerConnection, hello: Hello) -> None:
        """After a lost connection: what the worker holds and what its lease holds are made the same."""
        held = await leases.held_runs(self._store.database, connection.lease_id)
        if self.connections.get(connection.lease_id) is not connection:
            raise CutOffError(CAME_BACK)  # what the lease holds is now made the same as what the later one says
        gone = [DropRun(run_id=run_id, reason="the lease is over") for run_id in hello.held if UUID(run_id) not in held]
        connection.deliver(gone)
        for run_id in held:
            if str(run_id) in hello.held:
                # What it was told last is not known: the next commit or pulse tells it all.
                self._store.holders.expect(connection.lease_id, run_id)
        unknown = [run_id for run_id in held if str(run_id) not in hello.held]
        await self._store.committer.submit_all(
            [
                HolderLost(run_id, connection.lease_id, unreached_seconds=0, connection=connection.number)
                for run_id in unknown
            ]
        )

    async def _left(self, connection: WorkerConnection) -> None:
        if self.connections.get(connection.lease_id) is not connection:
            return
        lease_id, number = connection.lease_id, connection.number
        del self.connections[lease_id]
        self._store.holders.remove(lease_id)
        try:
            if connection.draining:
                await leases.give_back(self._store.database, lease_id, connection=number)
            if not self._stopping:
                await leases.shorten(self._store.database, lease_id, COMES_BACK_WITHIN, connection=number)
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.warning(
                "worker %s has left, and what it held waits for up to %.0f s for its return: the database does not "
                "answer (%s)",
                connection.name,
                limits.LEASE.total_seconds(),
                type(error).__name__,
            )

    def alive(self) -> dict[UUID, int]:
        """The leases of the workers that were heard lately, each with the number of its connection."""
        silent = time.monotonic() - 2 * limits.HEARTBEAT.total_seconds()
        return {lease_id: each.number for lease_id, each in self.connections.items() if each.heard_at > silent}

    def cut_off(self, lost: Mapping[UUID, int]) -> None:
        """Cut off the workers that have lost their leases, each with the number of the connection that has, and those
        that were not heard for as long as a lease lasts.

        Whatever they still hold is another's by now, or their own by a later connection, to another server.
        """
        silent = time.monotonic() - limits.LEASE.total_seconds()
        for lease_id, connection in self.connections.items():
            if lost.get(lease_id) == connection.number or connection.heard_at < silent:
                connection.cut_off("no heartbeat came within its lease, or it is connected to another server")

    async def say_goodbye(self) -> None:
        """This server stops: the workers connect again, to it or to another, and keep what they hold."""
        self._stopping = True
        for connection in self.connections.values():
            connection.welcomed = False  # it listens no more, so a run that it was given would wait for its return
            connection.deliver([Goodbye()])
        await asyncio.sleep(0)


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    with suppress(WebSocketDisconnect):
        await websocket.close(code, reason)
