"""What arrives during one transaction goes with the next, and nobody pays for another's fault."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest

from rotor import limits
from rotor.store import group_commit
from rotor.store.group_commit import GroupCommit, TryAgain
from rotor.store.problems import Overloaded


class Table:
    """What a group commit writes to: it remembers the groups, and fails as it is told to."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.failures: list[Exception] = []
        self.open = asyncio.Event()
        self.open.set()

    async def write(self, members: Sequence[str]) -> list[str]:
        await self.open.wait()
        self.groups.append(list(members))
        if self.failures:
            raise self.failures.pop(0)
        if "poison" in members:
            raise ValueError("this cannot be written")
        return [member.upper() for member in members]


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def commits(table: Table) -> GroupCommit[str, str]:
    return GroupCommit("test writes", table.write, len)


async def test_each_member_gets_its_own_result(commits: GroupCommit[str, str]) -> None:
    commits.start()

    assert await commits.submit("a") == "A"
    assert await commits.submit_all(["b", "c"]) == ["B", "C"]
    await commits.stop()


async def test_what_arrives_during_a_write_goes_together_into_the_next(
    table: Table, commits: GroupCommit[str, str]
) -> None:
    table.open.clear()
    commits.start()
    first = asyncio.create_task(commits.submit("first"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(commits.submit(f"later {number}")) for number in range(5)]
    await asyncio.sleep(0)
    table.open.set()
    await asyncio.gather(first, *others)

    assert table.groups == [["first"], [f"later {number}" for number in range(5)]]
    await commits.stop()


async def test_a_poisoned_member_is_answered_alone(table: Table, commits: GroupCommit[str, str]) -> None:
    members = [str(number) for number in range(100)]
    members[37] = "poison"
    commits.start()
    results = await commits.submit_all(members)

    assert isinstance(results[37], ValueError)
    assert [result for number, result in enumerate(results) if number != 37] == [
        member.upper() for number, member in enumerate(members) if number != 37
    ]
    assert len(table.groups) < 20, "the others are not written one by one"
    await commits.stop()


async def test_members_keep_their_order_though_their_group_is_split(
    table: Table, commits: GroupCommit[str, str]
) -> None:
    commits.start()
    await commits.submit_all(["a", "b", "poison", "c", "d"])

    written = [member for group in table.groups if "poison" not in group for member in group]
    assert written == ["a", "b", "c", "d"]
    await commits.stop()


@pytest.mark.parametrize(
    "failure",
    [
        TryAgain(),
        OSError("the connection is gone"),
        asyncpg.DeadlockDetectedError("deadlock"),
        asyncpg.exceptions.AdminShutdownError("terminating connection"),
        asyncpg.exceptions.DiskFullError("no space left"),
        asyncpg.exceptions.IdleInTransactionSessionTimeoutError("too long"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("got result for unknown protocol state 0"),
    ],
    ids=lambda failure: type(failure).__name__,
)
async def test_while_postgres_is_away_or_in_the_way_a_group_is_kept_and_tried_again(
    table: Table, commits: GroupCommit[str, str], failure: Exception
) -> None:
    table.failures = [failure, failure]
    commits.start()

    assert await commits.submit_all(["a", "b"]) == ["A", "B"]
    assert table.groups == [["a", "b"]] * 3
    await commits.stop()


async def test_a_full_queue_refuses_and_names_its_limit(
    commits: GroupCommit[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COMMIT_QUEUE", 2)
    commits.put("a", lambda *_: None)
    commits.put("b", lambda *_: None)

    with pytest.raises(Overloaded, match="COMMIT_QUEUE"):
        await commits.submit("c")


async def test_a_queue_of_large_writes_is_full_sooner(
    commits: GroupCommit[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COMMIT_QUEUE_BYTES", 100)
    commits.put("x" * 100, lambda *_: None)

    with pytest.raises(Overloaded, match="COMMIT_QUEUE_BYTES"):
        await commits.submit("c")


async def test_who_can_wait_waits_until_there_is_room(
    commits: GroupCommit[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COMMIT_QUEUE", 2)
    for _ in range(3):
        commits.put("a", lambda *_: None)
    waiting = asyncio.create_task(commits.room())
    await asyncio.sleep(0)
    assert not waiting.done()

    commits.start()
    await waiting
    await commits.stop()


async def test_a_transaction_is_bounded_by_number_and_by_bytes(
    table: Table, commits: GroupCommit[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BATCH", 3)
    monkeypatch.setattr(limits, "BATCH_BYTES", 10)
    commits.start()
    await commits.submit_all(["a", "b", "c", "d", "x" * 9, "yy", "z" * 30, "e"])

    assert table.groups == [["a", "b", "c"], ["d", "x" * 9], ["yy"], ["z" * 30], ["e"]]
    await commits.stop()


async def test_what_is_queued_is_written_before_the_end(table: Table, commits: GroupCommit[str, str]) -> None:
    commits.start()
    submitted = asyncio.create_task(commits.submit("last"))
    await asyncio.sleep(0)
    await commits.stop()

    assert await submitted == "LAST"


async def test_the_end_does_not_wait_for_a_postgres_that_is_away(
    table: Table, commits: GroupCommit[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "LAST_WRITES_WITHIN", 0.01)
    table.open.clear()
    commits.start()
    submitted = asyncio.create_task(commits.submit_all(["a"]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    queued = asyncio.create_task(commits.submit_all(["b"]))
    await asyncio.sleep(0)
    await commits.stop()

    assert [type(result) for result in [*await submitted, *await queued]] == [Overloaded, Overloaded]
    with pytest.raises(Overloaded):
        await commits.submit("after the end")
