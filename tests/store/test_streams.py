"""Whoever follows a run is told every change in the order of its commits, and can go on from any of them."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from rotor.store import streams
from rotor.store.database import Database
from rotor.store.problems import NotFound
from rotor.store.runs import Run
from rotor.store.streams import Change, Follower
from tests.store.rows import BEGINNING, put_run, put_step


def told(changes: list[Change]) -> list[tuple[int, str]]:
    return [(change.resume, change.row.status if isinstance(change.row, Run) else change.row.id) for change in changes]


async def read_all(follower: Follower) -> list[Change]:
    changes = await follower.read()
    while follower.more:
        changes += await follower.read()
    return changes


async def end_run(database: Database, run_id: UUID, group: int) -> None:
    async with database.connection() as connection:
        await connection.raw.execute(
            "UPDATE runs SET status = 'completed', due_at = NULL, ended_at = $2, changed_group = $3 WHERE id = $1",
            run_id,
            BEGINNING,
            group,
        )


async def test_a_follower_is_told_what_is_there_in_the_order_of_the_commits(database: Database) -> None:
    run_id = await put_run(database, changed_group=3)
    await put_step(database, run_id, "second", group=4)
    await put_step(database, run_id, "first", group=2)

    follower = Follower(database, 1, run_id)

    assert told(await follower.read()) == [(2, "first"), (3, "queued"), (4, "second")]
    assert await follower.read() == []
    assert not follower.ended


async def test_a_follower_is_told_what_comes_and_then_the_end(database: Database) -> None:
    run_id = await put_run(database, changed_group=1)
    follower = Follower(database, 1, run_id)
    await follower.read()

    await put_step(database, run_id, "a", group=5)
    assert told(await follower.read()) == [(5, "a")]
    # The end closes steps under numbers of their own, after the run's.
    await end_run(database, run_id, group=6)
    await put_step(database, run_id, "closed", group=7, status="cancelled")

    assert told(await follower.read()) == [(5, "closed"), (7, "completed")]
    assert follower.ended


async def test_within_one_commit_one_goes_on_from_the_commit_before(database: Database) -> None:
    run_id = await put_run(database, changed_group=5)
    await put_step(database, run_id, "a", group=5, position=0)
    await put_step(database, run_id, "b", group=5, position=1)

    assert told(await Follower(database, 1, run_id, since=4).read()) == [(4, "a"), (4, "b"), (5, "queued")]


@pytest.mark.parametrize("rows_at_once", [1, 2, 3, 500])
@pytest.mark.parametrize("ended", [True, False])
async def test_one_who_breaks_off_anywhere_misses_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch, rows_at_once: int, ended: bool
) -> None:
    monkeypatch.setattr(streams, "CHANGES_READ_AT_ONCE", rows_at_once)
    run_id = await put_run(database, changed_group=3)
    for number, group in enumerate((2, 2, 3, 4, 4, 6)):
        await put_step(database, run_id, f"s{number}", group=group, position=number)
    if ended:
        await end_run(database, run_id, group=5)

    whole = await read_all(Follower(database, 1, run_id))

    assert len(whole) == 7
    for number, change in enumerate(whole):
        rest = await read_all(Follower(database, 1, run_id, since=change.resume))
        missed = {name for _, name in told(whole[number + 1 :])} - {name for _, name in told(rest)}
        assert not missed
    last = Follower(database, 1, run_id, since=whole[-1].resume)
    assert await read_all(last) == []
    assert last.ended is ended


async def test_many_changes_are_told_some_at_a_time_each_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "CHANGES_READ_AT_ONCE", 3)
    run_id = await put_run(database, changed_group=8)
    for number in range(10):
        await put_step(database, run_id, f"s{number}", group=number // 2 + 1, position=number % 2)

    follower = Follower(database, 1, run_id)
    pieces = [await follower.read()]
    while follower.more:
        pieces.append(await follower.read())

    assert max(len(piece) for piece in pieces) <= 4
    assert [name for piece in pieces for _, name in told(piece)] == [*(f"s{number}" for number in range(10)), "queued"]


async def test_a_run_of_another_workspace_cannot_be_followed(database: Database) -> None:
    run_id = await put_run(database)
    await put_step(database, run_id, "secret")
    for workspace_id, wanted in ((2, run_id), (1, uuid4())):
        with pytest.raises(NotFound):
            await Follower(database, workspace_id, wanted).read()
