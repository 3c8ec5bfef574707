"""A loop ticks when it is woken or its time has come, and outlives every error."""

from __future__ import annotations

import asyncio
import logging

import pytest

from rotor.services import loop
from rotor.services.loop import Loop


class Ticks:
    """A tick that does as it is told, and can be waited for."""

    def __init__(self, *outcomes: float | Exception | None) -> None:
        self.outcomes = list(outcomes)
        self.count = 0
        self.ticked = asyncio.Event()
        self.during: asyncio.Event | None = None

    async def __call__(self) -> float | None:
        self.count += 1
        self.ticked.set()
        if self.during is not None:
            await self.during.wait()
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def reach(self, count: int) -> None:
        while self.count < count:
            self.ticked.clear()
            await self.ticked.wait()


async def test_a_loop_ticks_at_its_start_and_whenever_it_is_woken() -> None:
    ticks = Ticks()
    running = Loop("test", ticks)
    running.start()
    await ticks.reach(1)
    await asyncio.sleep(0)
    running.wake.set()
    await ticks.reach(2)
    await running.stop()


async def test_a_loop_ticks_again_when_its_pause_is_over() -> None:
    ticks = Ticks(0.001, 0.001)
    running = Loop("test", ticks)
    running.start()
    await ticks.reach(3)
    await running.stop()


async def test_a_tick_that_leaves_something_to_do_is_followed_by_the_next_at_once() -> None:
    ticks = Ticks(0, 0, 0)
    running = Loop("test", ticks)
    running.start()
    await ticks.reach(4)
    await running.stop()


async def test_a_nudge_that_comes_during_a_tick_is_not_lost() -> None:
    ticks = Ticks()
    ticks.during = asyncio.Event()
    running = Loop("test", ticks)
    running.start()
    await ticks.reach(1)
    running.wake.set()
    ticks.during.set()
    await ticks.reach(2)
    await running.stop()


async def test_an_error_is_logged_and_the_loop_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loop, "PAUSE_AFTER_ERROR", 0.001)
    ticks = Ticks(ValueError("no"), OSError("the database is away"))
    running = Loop("test loop", ticks)
    with caplog.at_level(logging.ERROR):
        running.start()
        await ticks.reach(3)
    await running.stop()

    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["test loop", "test loop"]


async def test_a_loop_is_a_task_with_a_name_and_ends_at_once() -> None:
    ticks = Ticks()
    ticks.during = asyncio.Event()
    running = Loop("test loop", ticks)
    running.start()
    await ticks.reach(1)
    assert "rotor test loop" in {task.get_name() for task in asyncio.all_tasks()}
    await running.stop()
    await running.stop()

    assert asyncio.all_tasks() == {asyncio.current_task()}
