"""Posts events as fast as the server takes them, over raw sockets so that the posting itself costs little.

Usage: python -m benchmarks.harness.posting PORT CONNECTIONS REQUESTS EVENTS_A_REQUEST (the key: ROTOR_API_KEY).
Prints one JSON document: how long it took, how many were answered, and the CPU seconds of this process.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

WARM_UP_REQUESTS = 200
HEAD = (
    "POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
    "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
)


class Poster(asyncio.Protocol):
    """One connection: posts again as soon as it is answered, until there is nothing left to post."""

    def __init__(self, pending: list[bytes], tally: list[int]) -> None:
        self._pending = pending
        self._tally = tally
        self._answer = bytearray()
        self._transport: asyncio.Transport
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._post()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, divided, body = self._answer.partition(b"\r\n\r\n")
        if not divided or len(body) < _length(bytes(head)):
            return
        if not head.startswith(b"HTTP/1.1 202"):
            self.done.set_exception(RuntimeError(bytes(self._answer[:500]).decode("utf-8", "replace")))
            self._transport.close()
            return
        self._tally.append(body.count(b'",') + 1)
        self._answer.clear()
        self._post()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed the connection"))

    def _post(self) -> None:
        if self._pending:
            self._transport.write(self._pending.pop())
            return
        self.done.set_result(None)
        self._transport.close()


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])


def request(events: int, first: int) -> bytes:
    body = json.dumps([{"name": "benchmark.intake", "data": {"n": first + n, "who": "a"}} for n in range(events)])
    return (HEAD.format(key=os.environ["ROTOR_API_KEY"], length=len(body)) + body).encode("ascii")


async def post(port: int, connections: int, requests: int, events: int) -> dict[str, float]:
    """Post `requests` requests of `events` events each over so many connections."""
    pending = [request(events, n * events) for n in range(requests)]
    tally: list[int] = []
    loop = asyncio.get_running_loop()
    began, used = time.time(), time.process_time()
    made = [await loop.create_connection(lambda: Poster(pending, tally), "127.0.0.1", port) for _ in range(connections)]
    await asyncio.gather(*(poster.done for _, poster in made))
    return {"seconds": time.time() - began, "answered": sum(tally), "cpu": time.process_time() - used}


async def main(port: int, connections: int, requests: int, events: int) -> None:
    warm_up = await post(port, connections, WARM_UP_REQUESTS, 1)
    measured = await post(port, connections, requests, events)
    print(json.dumps({**measured, "stored": warm_up["answered"] + measured["answered"]}))


if __name__ == "__main__":
    asyncio.run(main(*(int(argument) for argument in sys.argv[1:5])))
