"""A connection gathers what a worker sends into frames, and sends nothing faster than the server takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from rotor.protocol.messages import Committed, RunReleased, ServerMessage, WorkerMessage, worker_frame
from rotor.sdk.connection import Connection

COMMITTED = b'[{"type":"committed","runs":{"r1":[1]},"group":1}]'


class Socket:
    """A `WebSocket` without a network: keeps what is sent."""

    def __init__(self) -> None:
        self.is_writable = True
        self.on_writable: Callable[[], None]
        self.sent: list[bytes] = []
        self.take: Callable[[bytes], None]
        self.stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def send(self, text: bytes) -> None:
        self.sent.append(text)

    async def listen(self, take: Callable[[bytes], None]) -> None:
        self.take = take
        await self.stopped

    def stop(self, error: Exception) -> None:
        self.stopped.set_exception(error)


class Line:
    """A connection, and its other end."""

    def __init__(self) -> None:
        self.socket = Socket()
        self.connection = Connection(self.socket)

    @property
    def frames(self) -> list[list[WorkerMessage]]:
        return [worker_frame.decode(frame) for frame in self.socket.sent]

    def send(self, *run_ids: str) -> None:
        for run_id in run_ids:
            self.connection.send(RunReleased(run_id=run_id, n=1))


def released(*run_ids: str) -> list[RunReleased]:
    return [RunReleased(run_id=run_id, n=1) for run_id in run_ids]


async def test_what_is_sent_in_one_turn_leaves_in_one_frame() -> None:
    line = Line()
    line.send("r1", "r2")
    await line.connection.flushed()
    line.send("r3")
    await line.connection.flushed()
    assert line.frames == [released("r1", "r2"), released("r3")]


async def test_what_a_frame_brings_about_in_the_next_turn_leaves_at_the_end_of_that_turn() -> None:
    line = Line()
    answers: asyncio.Queue[str] = asyncio.Queue()

    def take(messages: list[ServerMessage]) -> bool:
        for message in messages:
            assert isinstance(message, Committed)
            answers.put_nowait("r1")
            answers.put_nowait("r2")
        return True

    async def answering() -> None:
        line.send(await answers.get())

    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(answering())
        listener = tasks.create_task(line.connection.listen(take))
        await asyncio.sleep(0)
        line.socket.take(COMMITTED)
        assert line.frames == []
        await asyncio.sleep(0)
        assert line.frames == [released("r1", "r2")]
        listener.cancel()


async def test_while_the_server_is_slow_what_becomes_ready_waits_for_one_frame() -> None:
    line = Line()
    line.socket.is_writable = False
    for run_id in ("r1", "r2", "r3"):
        line.send(run_id)
        await asyncio.sleep(0)
    flushed = asyncio.create_task(line.connection.flushed())
    await asyncio.sleep(0)
    assert line.frames == []
    assert not flushed.done()
    line.socket.is_writable = True
    line.socket.on_writable()
    await flushed
    assert line.frames == [released("r1", "r2", "r3")]


async def test_what_cannot_be_sent_ends_the_connection_and_says_why() -> None:
    line = Line()
    listening = asyncio.create_task(line.connection.listen(lambda _: True))
    await asyncio.sleep(0)
    line.send("\ud800")
    with pytest.raises(UnicodeEncodeError):
        await listening
