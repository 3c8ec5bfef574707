"""What was read a moment ago is read once for all who ask at the same time."""

from __future__ import annotations

import asyncio

import pytest

from rotor import limits
from rotor.store.problems import Overloaded
from rotor.store.recent import Recent


async def test_those_who_ask_at_once_share_one_reading() -> None:
    readings = 0

    async def read(key: str) -> str:
        nonlocal readings
        readings += 1
        await asyncio.sleep(0)
        return key.upper()

    recent = Recent(read, seconds=60)
    assert await asyncio.gather(*(recent.get("a") for _ in range(10))) == ["A"] * 10
    assert await recent.get("a") == "A"
    assert readings == 1


async def test_an_answer_that_was_under_way_when_all_was_cleared_is_not_kept() -> None:
    going_on = asyncio.Event()
    answers = iter(["old", "new"])

    async def read(key: str) -> str:
        answer = next(answers)
        await going_on.wait()
        return answer

    recent = Recent(read, seconds=60)
    early = asyncio.create_task(recent.get("key"))
    await asyncio.sleep(0)
    recent.clear()
    late = asyncio.create_task(recent.get("key"))
    await asyncio.sleep(0)
    going_on.set()

    assert (await early, await late) == ("old", "new")
    assert await recent.get("key") == "new"


async def test_an_error_reaches_everyone_and_is_not_kept() -> None:
    answers: list[str | Exception] = ["fine", ValueError("away")]

    async def read(key: str) -> str:
        answer = answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    recent = Recent(read, seconds=60)
    with pytest.raises(ValueError, match="away"):
        await recent.get("key")
    assert await recent.get("key") == "fine"


async def test_one_who_gives_up_does_not_cut_off_the_others() -> None:
    going_on = asyncio.Event()

    async def read(key: str) -> str:
        await going_on.wait()
        return "here"

    recent = Recent(read)
    impatient, patient = asyncio.create_task(recent.get("key")), asyncio.create_task(recent.get("key"))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    going_on.set()
    assert await patient == "here"


async def test_guesses_that_a_slow_database_has_not_answered_go_on_to_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UNKNOWN_KEYS", 3)
    now = 100.0
    monkeypatch.setattr("rotor.store.recent.monotonic", lambda: now)
    answering = asyncio.Event()

    async def find(_: str) -> None:
        await answering.wait()

    recent = Recent(find, guessed=True)
    asked = [asyncio.create_task(recent.get(f"guess {n}")) for n in range(2)]
    await asyncio.sleep(0)
    now += 1.0
    asked += [asyncio.create_task(recent.get(f"later guess {n}")) for n in range(2)]
    await asyncio.sleep(0)
    answering.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)

    assert [type(answer) for answer in answers] == [type(None)] * 3 + [Overloaded]


async def test_a_flood_of_guesses_puts_nothing_out_of_memory_that_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rotor.store.recent.ENTRIES_MAX", 3)
    monkeypatch.setattr(limits, "UNKNOWN_KEYS", 3)
    now = 100.0
    monkeypatch.setattr("rotor.store.recent.monotonic", lambda: now)

    async def find(key: str) -> str | None:
        return None if key.startswith("guess") else key.upper()

    recent = Recent(find, guessed=True)
    for known in "abc":
        await recent.get(known)
    now += 2.0
    for n in range(3):
        await recent.get(f"guess {n}")
    with pytest.raises(Overloaded, match="UNKNOWN_KEYS"):
        await recent.get("guess 4")
    assert [await recent.get(known) for known in "abc"] == ["A", "B", "C"]


async def test_guesses_beyond_those_of_a_second_are_refused_but_not_what_was_found_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "UNKNOWN_KEYS", 3)
    read: list[str] = []
    now = 100.0
    monkeypatch.setattr("rotor.store.recent.monotonic", lambda: now)

    async def find(key: str) -> str | None:
        read.append(key)
        await asyncio.sleep(0)
        return None if key.startswith("guess") else key.upper()

    recent = Recent(find, seconds=0.25, guessed=True)
    for known in "abcde":
        assert await recent.get(known) == known.upper()
    answers = await asyncio.gather(*(recent.get(f"guess {n}") for n in range(10)), return_exceptions=True)
    assert answers[:3] == [None] * 3
    assert {type(answer) for answer in answers[3:]} == {Overloaded}
    with pytest.raises(Overloaded, match="UNKNOWN_KEYS"):
        await recent.get("a new one")
    assert await recent.get("one that is no stranger's", known=True) == "ONE THAT IS NO STRANGER'S"
    recent.clear()
    read.clear()
    assert await recent.get("a") == "A"
    assert read == ["a"]
    now += 1.0
    assert await recent.get("a new one") == "A NEW ONE"
