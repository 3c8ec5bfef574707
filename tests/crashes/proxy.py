"""A way between a worker and its server that can break as real ones do: one end learns of it, the other does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

__all__ = ["Proxy", "proxied"]


class Proxy:
    """Passes connections on to the port `target`."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._pumps: set[asyncio.Task[None]] = set()
        self._clients: list[asyncio.StreamWriter] = []
        self._servers: list[asyncio.StreamWriter] = []

    def lose_clients(self) -> None:
        """Every client's connection breaks, and their server is not told."""
        for pump in self._pumps:
            pump.cancel()
        for client in self._clients:
            client.transport.abort()
        self._clients.clear()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._clients.append(writer)
        self._servers.append(server_writer)
        for source, sink in ((reader, server_writer), (server_reader, writer)):
            pump = asyncio.create_task(_pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    def close(self) -> None:
        self.lose_clients()
        for server in self._servers:
            server.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


@asynccontextmanager
async def proxied(target: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(target)
    listening = await asyncio.start_server(proxy.take, "127.0.0.1", 0)
    proxy.port = listening.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        proxy.close()
        listening.close()
