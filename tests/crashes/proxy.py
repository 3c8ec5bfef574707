"""A line between two programs that can break as real ones do: with one end told or both, in the middle of a request or
of an answer, slowly, or silently.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

__all__ = ["Proxy", "proxied"]


@dataclass
class Cut:
    """A break that is to come: after so many bytes more of requests, or of answers."""

    of_answers: bool
    bytes_left: int


class Line:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.pumps: list[asyncio.Task[None]] = []

    def abort(self, *, server: bool = True) -> None:
        """Break it. Without `server` that end is not told."""
        for pump in self.pumps:
            if pump is not asyncio.current_task():
                pump.cancel()
        self.client.transport.abort()
        if server:
            self.server.transport.abort()


class Proxy:
    """Passes connections on to `target`: a port, or the path of a socket."""

    def __init__(self, target: int | str) -> None:
        self.target = target
        self.port = 0
        self.delay_seconds = 0.0
        """Added to each piece that passes, either way."""
        self.is_silent = False
        """Nothing passes, and nobody is told."""
        self.harmed = 0
        """How many connections were broken, and how many pieces held up or swallowed, on purpose."""
        self._cuts: list[Cut] = []
        self._lines: set[Line] = set()

    async def is_in_use(self) -> bool:
        """Whether there is a connection to break."""
        return self._open_lines() > 0

    async def is_harmed(self, *, since: int) -> bool:
        """Whether there was more harm than `since`."""
        return self.harmed > since

    def harm(self, how: str, after_bytes: int) -> None:
        """Break it in one of the ways that `tests.crashes.faults` lists, now or with what passes next."""
        match how:
            case "broken":
                self.break_all()
            case "broken for one end":
                self.lose_clients()
            case "half closed":
                self.half_close()
            case "half a request":
                self.cut_requests(after_bytes)
            case "lost answer":
                self.cut_answers(0)
            case "half an answer":
                self.cut_answers(after_bytes)
            case "slow":
                self.delay_seconds = 0.05
            case "silent" | "silent beyond a lease":
                self.is_silent = True
            case _:
                raise AssertionError(how)

    def lose_clients(self) -> None:
        """Every client's connection breaks, and their server is not told."""
        self._break_all(server=False)

    def break_all(self) -> None:
        """Every connection breaks, at both ends."""
        self._break_all(server=True)

    def _break_all(self, *, server: bool) -> None:
        self.harmed += self._open_lines()
        for line in list(self._lines):
            line.abort(server=server)
            if server:
                self._lines.discard(line)

    def half_close(self) -> None:
        """Every server is told that its client sends no more; what it still answers passes."""
        self.harmed += self._open_lines()
        for line in self._lines:
            with suppress(OSError):
                line.server.write_eof()

    def _open_lines(self) -> int:
        return sum(not line.client.is_closing() for line in self._lines)

    def cut_requests(self, after_bytes: int) -> None:
        """The next connection on which anything is sent breaks after so many bytes of it: half a request."""
        self._cuts.append(Cut(of_answers=False, bytes_left=after_bytes))

    def cut_answers(self, after_bytes: int = 0) -> None:
        """The next connection on which anything is answered breaks after so many bytes of it: lost, or half."""
        self._cuts.append(Cut(of_answers=True, bytes_left=after_bytes))

    def heal(self) -> None:
        """From now on everything passes, on new connections where the old ones lost something."""
        self._cuts.clear()
        self.delay_seconds = 0.0
        if self.is_silent:
            self.is_silent = False
            self.break_all()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(self.target, int):
                server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
            else:
                server_reader, server_writer = await asyncio.open_unix_connection(self.target)
        except OSError:
            writer.transport.abort()
            return
        line = Line(writer, server_writer)
        self._lines.add(line)
        requests = self._pump(line, reader, server_writer, of_answers=False)
        answers = self._pump(line, server_reader, writer, of_answers=True)
        line.pumps = [asyncio.create_task(requests), asyncio.create_task(answers)]
        line.pumps[1].add_done_callback(lambda _: self._lines.discard(line) if server_writer.is_closing() else None)

    async def _pump(
        self, line: Line, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, of_answers: bool
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if self.delay_seconds:
                    self.harmed += 1
                    await asyncio.sleep(self.delay_seconds)
                if self.is_silent:
                    self.harmed += 1
                    continue
                cut = next((cut for cut in self._cuts if cut.of_answers is of_answers), None)
                if cut is not None and cut.bytes_left < len(data):
                    self._cuts.remove(cut)
                    sink.write(data[: cut.bytes_left])
                    await sink.drain()
                    self.harmed += 1
                    line.abort()
                    return
                if cut is not None:
                    cut.bytes_left -= len(data)
                sink.write(data)
                await sink.drain()
        sink.close()

    def close(self) -> None:
        self.break_all()


@asynccontextmanager
async def proxied(target: int | str) -> AsyncIterator[Proxy]:
    proxy = Proxy(target)
    listening = await asyncio.start_server(proxy.take, "127.0.0.1", 0)
    proxy.port = listening.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        proxy.close()
        listening.close()
