"""A worker's side of a connection, without a socket: it says frames, and hears those of the server."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import msgspec
from starlette.types import Message
from starlette.websockets import WebSocket

from rotor.protocol.messages import (
    PROTOCOL_VERSION,
    FunctionSpec,
    Hello,
    Manifest,
    ServerMessage,
    Trigger,
    WorkerMessage,
    server_frame,
)
from rotor.services.sockets import FRAMES, Listener
from rotor.services.workers import WorkerConnection, Workers

__all__ = ["FakeWorker", "hello"]

M = TypeVar("M", bound=ServerMessage)


def hello(
    *function_ids: str, slots: int = 10, lease_id: str | None = None, held: tuple[object, ...] = (), **fields: Any
) -> Hello:
    """The greeting of a worker that serves functions, each started by an event of its own."""
    specs = [FunctionSpec(id=name, triggers=[Trigger(event=f"start {name}")]) for name in function_ids]
    given: dict[str, Any] = {"protocol": PROTOCOL_VERSION, "worker": "w", "manifest": Manifest(functions=specs)}
    return Hello(**{**given, "slots": slots, "lease_id": lease_id, "held": [str(run) for run in held], **fields})


class FakeWorker:
    """One connection to `workers`, which serves it in a task of its own."""

    def __init__(self, workers: Workers, workspace_id: int = 1) -> None:
        self.workers = workers
        self.workspace_id = workspace_id
        self.closed: tuple[int, str] | None = None
        """The code and the reason by which the server closed the connection."""
        self.aborted = False
        """The server has ended the connection without a word."""
        self._reads = True
        self._listener: Listener | None = None
        self.paused = False
        """The server reads nothing of what is said."""
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._heard: list[ServerMessage] = []
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def connect(self, greeting: Hello | None = None) -> FakeWorker:
        """Open the connection and send the greeting, if there is one."""
        self._incoming.put_nowait({"type": "websocket.connect"})
        scope = {"type": "websocket", "extensions": {FRAMES: self}}
        websocket = WebSocket(scope, self._incoming.get, self._receive)
        self._task = asyncio.create_task(self.workers.serve(websocket, self.workspace_id))
        if greeting is not None:
            self.say(greeting)
            await self.hears("welcome")
        return self

    @property
    def connection(self) -> WorkerConnection:
        """The server's end."""
        lease_id = self.all_of("welcome")[0].lease_id
        return next(each for key, each in self.workers.connections.items() if str(key) == lease_id)

    def say(self, *messages: WorkerMessage) -> None:
        self.say_bytes(msgspec.json.encode(messages))

    def say_bytes(self, frame: bytes) -> None:
        self._incoming.put_nowait({"type": "websocket.receive", "bytes": frame})
        self._pass_on()

    async def hears(self, kind: str, count: int = 1) -> Any:
        """The `count`th message of a kind, once it is there."""
        while len(self.all_of(kind)) < count:
            self._news.clear()
            await self._news.wait()
        return self.all_of(kind)[count - 1]

    def all_of(self, kind: str) -> list[Any]:
        """What was heard of a kind (`start_run`, `committed` ...), in order."""
        return [message for message in self._heard if type(message).__struct_config__.tag == kind]

    async def leave(self) -> None:
        """Close the connection, and return when the server is done with it."""
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1006})
        self._pass_on()
        await self.gone()

    async def gone(self) -> None:
        """Return when the server is done with the connection."""
        assert self._task is not None
        await self._task

    async def is_no_longer_served(self) -> None:
        """Return when the server has given the connection up, as it does once the worker's key is revoked."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})

    def stop_reading(self) -> None:
        """From now on what the server sends is not read."""
        self._reads = False

    # --- the server's end of the socket (`rotor.services.sockets.Frames`)

    def take(self, listener: Listener) -> None:
        self._listener = listener
        self._pass_on()

    def is_writable(self) -> bool:
        return self._reads

    def send_frame(self, frame: bytes) -> None:
        self._heard += server_frame.decode(frame)
        self._news.set()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self._pass_on()

    def abort(self) -> None:
        self.aborted = True

    def _pass_on(self) -> None:
        while self._listener is not None and not self.paused and not self._incoming.empty():
            message = self._incoming.get_nowait()
            if message["type"] == "websocket.receive":
                self._listener.received(message["bytes"])
            else:
                self._listener.lost()

    async def _receive(self, message: Message) -> None:
        if message["type"] == "websocket.close":
            self.closed = message["code"], message["reason"]
