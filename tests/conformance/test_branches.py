"""Every way of asyncio to do things side by side works, first and on replay, and each body runs once."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.conformance.service import TRIES, Service

BRANCH = ["one", "two", "three"]


def once(service: Service, key: str, words: list[str]) -> None:
    """Each of these has been noted once, and nothing else."""
    assert Counter(service.notes(key)) == Counter(words)


def branch(*names: str) -> list[str]:
    return [f"{name} {part}" for name in names for part in BRANCH]


def told(name: str) -> str:
    return ", ".join(f"{name} {part}" for part in BRANCH)


async def replayed(service: Service, event: str, **data: Any) -> Any:
    """The outcome of a workflow that replays itself once: both times the same."""
    run = await service.run(event, **data)
    assert run.status == "completed", run.error
    assert run.attempt == 1
    assert run.output["replayed"] == run.output["first"]
    return run.output["first"]


async def test_gather(service: Service, key: str) -> None:
    outcome = await replayed(service, "branches.gather", key=key)
    assert outcome == [told("a"), told("b"), told("c"), "0", "1", "2", "3", "4"]
    once(service, key, [*branch("a", "b", "c"), "0", "1", "2", "3", "4"])


async def test_a_task_group(service: Service, key: str) -> None:
    assert await replayed(service, "branches.group", key=key) == [told("a"), told("b"), "plain"]
    once(service, key, [*branch("a", "b"), "plain"])


async def test_wait_for_the_first(service: Service, key: str) -> None:
    order: list[list[str]] = []
    for number in range(TRIES):
        order = await replayed(service, "branches.wait", key=f"{key}-{number}")
        assert sorted(name for done in order for name in done) == ["longest", "quick", "slow"]
        seen = [f"seen {number + 1}" for number in range(len(order))]
        once(service, f"{key}-{number}", [*branch("slow", "quick"), *seen])
        if order[0] == ["quick"]:
            break
    assert order[0] == ["quick"]


async def test_as_completed(service: Service, key: str) -> None:
    assert sorted(await replayed(service, "branches.as-completed", key=key)) == [told("a"), told("b"), "plain"]
    once(service, key, [*branch("a", "b"), "plain", "seen 1", "seen 2", "seen 3"])


async def test_a_race_that_the_sleep_wins(service: Service, key: str) -> None:
    assert await replayed(service, "branches.race", key=key, sleep="100ms") == ["sleep"]
    once(service, key, ["after"])


async def test_a_race_that_the_event_wins_and_whose_loser_is_withdrawn(service: Service, key: str) -> None:
    run_id = await service.start("branches.race", key=key, sleep="1h")
    await service.reaches(run_id, "event")
    await service.rotor.send("ping", {"key": key})
    run = await service.ended(run_id)
    assert run.output == {"first": ["event"], "replayed": ["event"]}
    assert {step.id: step.status for step in run.steps}["sleep"] == "cancelled"
    once(service, key, ["after"])


async def test_a_branch_that_fails_takes_nothing_from_the_others(service: Service, key: str) -> None:
    assert await service.output("branches.failing", key=key) == ["well", "LookupError"]


async def test_a_plain_handler_takes_every_primitive(service: Service, key: str) -> None:
    run_id = await service.start("threads.everything", key=key)
    await service.reaches(run_id, "signal")
    await service.rotor.complete_signal(f"gate-{key}", {"go": True})
    run = await service.ended(run_id)
    assert run.status == "completed", run.error
    assert run.output == {"ran": "ran", "child": {"points": 7, "of": key}, "event": 5, "signal": {"go": True}}
    assert run.attempt == 1
    once(service, key, ["ran", "scored", "no signal"])


async def test_parallel_branches_of_a_plain_handler(service: Service, key: str) -> None:
    run = await service.run("threads.parallel", key=key)
    assert run.output == [f"{name} one, {name} two" for name in "abc"], run.error
    once(service, key, [f"{name} {part}" for name in "abc" for part in ("one", "two")])


async def test_a_parallel_branch_that_fails_raises_once_all_have_ended(service: Service, key: str) -> None:
    assert await service.output("threads.failing", key=key) == "LookupError"
    once(service, key, ["well"])
