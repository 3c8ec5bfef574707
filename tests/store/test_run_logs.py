"""The log of a run is kept in its order, within its limit, behind the wall of its workspace, and says what it lacks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from rotor import limits
from rotor.protocol.messages import LogLine
from rotor.store.problems import Invalid, NotFound
from rotor.store.retention import Retention, prune
from rotor.store.run_logs import NO_MORE, Line, NewLine, latest, page
from rotor.store.store import Store
from tests import messages
from tests.store.actors import hold
from tests.store.tables import change, value


def line(run_id: object, number: int, message: str = "said", **fields: Any) -> LogLine:
    return LogLine(**{"run_id": str(run_id), "number": number, "level": "info", "message": message, **fields})


async def write(store: Store, *given: LogLine, workspace_id: int = 1) -> None:
    await store.logs.commits.submit_all([NewLine(workspace_id, UUID(one.run_id), one) for one in given])


async def lines(store: Store, run_id: str, items_max: int = 100) -> list[Line]:
    return (await page(store.database, 1, UUID(run_id), cursor=None, items_max=items_max)).items


async def test_lines_are_kept_in_their_order_with_their_level_and_step(store: Store) -> None:
    _, run_id = await hold(store)
    await write(store, line(run_id, 1, "one"), line(run_id, 2, "two", level="error", step_id="a", step_index=1))
    await write(store, line(run_id, 3, "nul \0 and\nbreak"))

    kept = await lines(store, run_id)
    assert [(one.number, one.message, one.level, one.step_id, one.step_index) for one in kept] == [
        (0, "one", "info", None, None),
        (1, "two", "error", "a", 1),
        (2, "nul \N{REPLACEMENT CHARACTER} and\nbreak", "info", None, None),
    ]
    assert kept == await latest(store.database, 1, UUID(run_id), lines_max=100)
    assert kept[1:] == await latest(store.database, 1, UUID(run_id), lines_max=2)


async def test_lines_that_were_lost_are_told_of_and_a_new_holder_counts_anew(store: Store) -> None:
    _, run_id = await hold(store)
    await write(store, line(run_id, 2), line(run_id, 3), line(run_id, 7), line(run_id, 1), line(run_id, 3))
    assert [one.missed for one in await lines(store, run_id)] == [1, 0, 3, 0, 1]
    assert [one.missed for one in await latest(store.database, 1, UUID(run_id), lines_max=3)] == [3, 0, 1]


async def test_pages_go_on_where_the_one_before_ended(store: Store) -> None:
    _, run_id = await hold(store)
    await write(store, *(line(run_id, number, str(number)) for number in range(1, 6)))
    seen: list[str] = []
    cursor = None
    while True:
        found = await page(store.database, 1, UUID(run_id), cursor=cursor, items_max=2)
        seen += [one.message for one in found.items]
        cursor = found.next_cursor
        if cursor is None:
            break
    assert seen == ["1", "2", "3", "4", "5"]
    with pytest.raises(Invalid):
        await page(store.database, 1, UUID(run_id), cursor="WzEsMl0", items_max=2)
    with pytest.raises(NotFound):
        await page(store.database, 1, uuid4(), cursor=None, items_max=2)


async def test_a_run_keeps_so_many_lines_and_says_that_there_were_more(store: Store) -> None:
    _, run_id = await hold(store)
    await write(store, line(run_id, 1))
    await change(store.database, "UPDATE run_logs SET position = $1, line = $1 + 1", limits.LOG_LINES_PER_RUN - 2)
    most = limits.LOG_LINES_PER_RUN
    await write(store, *(line(run_id, most + number, f"the {number}th", step_id="a") for number in range(5)))
    await write(store, line(run_id, most + 9))

    kept = await lines(store, run_id)
    assert [(one.level, one.message, one.step_id) for one in kept[1:]] == [
        ("info", "the 0th", "a"),
        ("warning", NO_MORE, None),
    ]


async def test_another_workspace_s_run_and_an_unknown_one_take_no_lines(store: Store) -> None:
    _, run_id = await hold(store)
    await write(store, line(run_id, 1), line(uuid4(), 1), workspace_id=2)
    assert await value(store.database, "SELECT count(*) FROM run_logs") == 0
    with pytest.raises(NotFound):
        await page(store.database, 2, UUID(run_id), cursor=None, items_max=2)
    await write(store, line(run_id, 1))
    assert await latest(store.database, 2, UUID(run_id), lines_max=5) == []


async def test_the_last_lines_of_a_run_that_has_just_ended_are_kept_and_all_go_with_it(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.completed(run_id))
    await write(store, line(run_id, 1, "last words"))
    assert len(await lines(store, run_id)) == 1
    store.database.advance(timedelta(hours=2))
    await write(store, line(run_id, 2, "much too late"))
    assert len(await lines(store, run_id)) == 1

    await prune(store.database, Retention(runs=timedelta(hours=1)))
    assert await value(store.database, "SELECT count(*) FROM run_logs") == 0


async def test_two_servers_that_add_to_one_log_lose_no_line(store: Store, second_store: Store) -> None:
    _, run_id = await hold(store)
    async with store.database.transaction() as connection:
        await connection.raw.execute(
            "INSERT INTO run_logs VALUES ($1, 0, 1, 1, now(), 'info', 'first', NULL, NULL)", UUID(run_id)
        )
        second_store.logs.put(1, line(run_id, 2, "second"))
        while not await value(store.database, "SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await change(store.database, "SELECT pg_sleep(0.002)")
    await write(second_store, line(run_id, 3, "third"))
    assert [one.message for one in await lines(store, run_id)] == ["first", "second", "third"]
