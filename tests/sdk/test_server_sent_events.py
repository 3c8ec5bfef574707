"""A stream of server-sent events reads the same however it is cut into chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rotor.sdk.server_sent_events import ServerSentEvent, server_sent_events

STREAM = (
    b': hello\n\nid: 1\nevent: run\ndata: {"a":1}\n\ndata: one\r\ndata:two\r\n\r\n'
    b"id: 2\nevent: left\n\nretry: 5\ndata: \xe2\x82\xac\n\ndata: cut off\n"
)
EVENTS = [
    ServerSentEvent("run", b'{"a":1}', "1"),
    ServerSentEvent("message", b"one\ntwo", "1"),
    ServerSentEvent("message", "€".encode(), "2"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_events_do_not_depend_on_where_chunks_end(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(STREAM)]

    async def chunks() -> AsyncIterator[bytes]:
        for begin, end in pairwise(ends):
            yield STREAM[begin:end]

    async def read() -> list[ServerSentEvent]:
        return [event async for event in server_sent_events(chunks())]

    assert asyncio.run(read()) == EVENTS
