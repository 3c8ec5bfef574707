"""A signal is delivered exactly once, to the one run that waits for it, whichever of the two came first."""

from __future__ import annotations

import asyncio

import pytest

from rotor.errors import ApiError
from tests.conformance.service import Service


async def test_a_signal_wakes_the_run_that_waits_for_it(service: Service, key: str) -> None:
    run_id = await service.start("signals.wait", signal=key)
    await service.reaches(run_id, "gate")
    reply = await service.request("POST", f"/v1/signals/{key}/complete", '{"approved": true}')
    assert (reply.status, reply.json) == (200, {"run_id": run_id, "delivered": True})
    run = await service.ended(run_id)
    assert run.output == {"approved": True}
    assert run.steps[-1].waits_for == f"signal:{key}"


async def test_a_signal_before_the_wait_is_not_lost(service: Service, key: str) -> None:
    reply = await service.request("POST", f"/v1/signals/{key}/complete", "[1, 2]")
    assert (reply.status, reply.json) == (202, {"run_id": None, "delivered": False})
    assert await service.output("signals.wait", signal=key) == [1, 2]


async def test_a_second_completion_is_a_conflict_early_and_late(service: Service, key: str) -> None:
    await service.rotor.complete_signal(key, "first")
    with pytest.raises(ApiError) as early:
        await service.rotor.complete_signal(key, "second")
    assert await service.output("signals.wait", signal=key) == "first"
    with pytest.raises(ApiError) as late:
        await service.rotor.complete_signal(key, "third")
    assert (early.value.status, late.value.status) == (409, 409)


async def test_of_many_completions_at_once_one_is_taken(service: Service, key: str) -> None:
    run_id = await service.start("signals.wait", signal=key, after="100ms")
    replies = await asyncio.gather(
        *(service.request("POST", f"/v1/signals/{key}/complete", str(number)) for number in range(10))
    )
    assert sorted(reply.status for reply in replies)[1:] == [409] * 9
    (winner,) = [number for number, reply in enumerate(replies) if reply.status != 409]
    assert (await service.ended(run_id)).output == winner


async def test_no_completion_within_the_timeout_raises(service: Service, key: str) -> None:
    run = await service.run("signals.wait", signal=key, timeout="200ms")
    assert run.output.startswith("SignalTimeoutError: ")
    assert key in run.output
    assert run.steps[-1].status == "timed_out"


async def test_a_completion_after_the_timeout_is_kept_for_another(service: Service, key: str) -> None:
    await service.run("signals.wait", signal=key, timeout="50ms")
    assert not (await service.rotor.complete_signal(key, "late")).delivered
    assert await service.output("signals.wait", signal=key) == "late"


async def test_of_two_runs_that_wait_for_one_signal_the_second_is_told(service: Service, key: str) -> None:
    first = await service.start("signals.wait", signal=key)
    await service.reaches(first, "gate")
    second = await service.output("signals.wait", signal=key)
    assert second.startswith("SignalConflictError: ")
    assert first in second
    await service.rotor.complete_signal(key, "for the first")
    assert (await service.ended(first)).output == "for the first"


async def test_a_signal_is_free_again_once_its_waiter_is_cancelled(service: Service, key: str) -> None:
    first = await service.start("signals.wait", signal=key)
    await service.reaches(first, "gate")
    await service.rotor.runs.cancel(first)
    await service.ended(first)
    second = await service.start("signals.wait", signal=key)
    await service.reaches(second, "gate")
    assert (await service.rotor.complete_signal(key, 1)).run_id == second


async def test_its_data_is_validated_into_its_type(service: Service, key: str) -> None:
    right = await service.start("signals.typed", signal=key)
    await service.rotor.complete_signal(key, {"approved": True})
    assert (await service.ended(right)).output is True
    wrong = await service.start("signals.typed", signal=f"{key}-wrong")
    await service.rotor.complete_signal(f"{key}-wrong", {"approved": "yes"})
    assert "approved" in (await service.ended(wrong)).output


@pytest.mark.parametrize("signal", ["a/b", "a b", "ü", "a%2Fb", "😀", "?x=1#y", "..", "a" * 200], ids=ascii)
async def test_an_id_may_hold_any_text(service: Service, key: str, signal: str) -> None:
    run_id = await service.start("signals.wait", signal=f"{key}{signal}")
    await service.reaches(run_id, "gate")
    assert (await service.rotor.complete_signal(f"{key}{signal}", 1)).run_id == run_id
