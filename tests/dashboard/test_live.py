"""What an open page is sent: only what looks different, until nothing follows."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from starlette.responses import StreamingResponse

from rotor.dashboard import live
from rotor.dashboard.live import Live, View
from rotor.store.changes import Changes
from rotor.store.followers import Followers
from rotor.store.problems import NotFound, Overloaded

RUN = uuid4()


async def texts(streams: Live, looks: list[View], changes: Changes) -> list[str]:
    """The texts of one stream whose looks find these views in turn; the first is looked at twice."""
    found = iter([looks[0], *looks])

    async def look() -> View:
        changes.runs_changed([RUN])
        return next(found)

    response = await streams.follow(1, look)
    assert isinstance(response, StreamingResponse)
    return [str(text) async for text in response.body_iterator]


def view(seen: object, *, ended: bool = False, **parts: str) -> View:
    return View(seen, lambda: parts, ended, frozenset({RUN}))


async def test_only_parts_that_look_different_are_sent_again() -> None:
    changes = Changes()
    views = [view(1, head="<p>a", graph="<g>1"), view(2, head="<p>a", graph="<g>2"), view(3, ended=True, head="<p>b")]
    assert await texts(Live(changes, Followers()), views, changes) == [
        "retry: 1000\n\n",
        "event: parts\ndata: <p>a\ndata: <g>1\n\n",
        "event: parts\ndata: <g>2\n\n",
        "event: parts\ndata: <p>b\n\n",
        "event: end\ndata: \n\n",
    ]


async def test_what_was_seen_before_is_not_drawn_again() -> None:
    drawn = []
    changes = Changes()

    def draw() -> dict[str, str]:
        drawn.append(1)
        return {"head": "a"}

    await texts(Live(changes, Followers()), [View(1, draw), View(1, draw), View(1, draw, ended=True)], changes)
    assert len(drawn) == 1


async def test_a_line_end_within_a_part_ends_no_message() -> None:
    changes = Changes()
    sent = await texts(Live(changes, Followers()), [view(1, ended=True, head="a\r\n\r\nevent: end\rb\nc")], changes)
    assert sent[1] == "event: parts\ndata: a\ndata: \ndata: event: end\ndata: b\ndata: c\n\n"


async def test_a_run_that_is_pruned_meanwhile_ends_its_stream() -> None:
    looks = iter([view(1, head="a")])

    async def look() -> View:
        try:
            return next(looks)
        except StopIteration:
            raise NotFound("there is no run") from None

    response = await Live(Changes(), Followers()).follow(1, look)
    assert isinstance(response, StreamingResponse)
    assert [text async for text in response.body_iterator][-1] == "event: end\ndata: \n\n"


async def test_a_run_that_comes_into_sight_is_listened_to_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LOOK_FIRST_SECONDS", 3_600)
    changes = Changes()
    child = uuid4()
    looked: list[int] = []

    async def look() -> View:
        looked.append(1)
        asyncio.get_running_loop().call_soon(lambda: changes.runs_changed([child]))
        return View(1, dict, ended=len(looked) == 4, run_ids=frozenset({RUN, child} if len(looked) > 1 else {RUN}))

    response = await Live(changes, Followers()).follow(1, look)
    assert isinstance(response, StreamingResponse)
    async with asyncio.timeout(60):
        assert [text async for text in response.body_iterator][-1] == "event: end\ndata: \n\n"


async def test_a_stream_is_cut_after_a_while_so_that_its_reader_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "STREAM_SECONDS", 0.0)
    changes = Changes()
    assert await texts(Live(changes, Followers()), [view(1, head="a")], changes) == ["retry: 1000\n\n"]


async def test_open_streams_end_with_their_server_and_new_ones_are_refused() -> None:
    changes = Changes()
    followers = Followers()
    streams = Live(changes, followers)

    async def look() -> View:
        return view(1, head="a")

    response = await streams.follow(1, look)
    assert isinstance(response, StreamingResponse)
    sent = aiter(response.body_iterator)
    assert [await anext(sent), await anext(sent)][1] == "event: parts\ndata: a\n\n"
    followers.end()
    assert [text async for text in sent] == []
    with pytest.raises(Overloaded):
        await streams.follow(1, look)
