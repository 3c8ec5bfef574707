"""The threads of a plain handler."""

from __future__ import annotations

import asyncio
import threading

import pytest

from rotor.sdk.threads import HandlerThreads, Suspended


async def test_a_thread_gives_its_result_or_its_error() -> None:
    threads = HandlerThreads("test", lambda: None)
    assert await threads.run(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    assert threads.running == 0


async def test_a_call_blocks_its_thread_and_is_carried_out_on_the_loop() -> None:
    threads = HandlerThreads("test", lambda: None)

    async def work() -> tuple[int, int]:
        return threading.get_ident(), threads.running

    assert await threads.run(lambda: threads.call(work)) == (threading.get_ident(), 0)


async def test_a_blocked_thread_is_unwound_past_except_exception() -> None:
    threads = HandlerThreads("test", lambda: None)
    left: list[str] = []

    def body() -> None:
        try:
            threads.call(forever)
        except Exception:
            left.append("except")
        finally:
            with pytest.raises(Suspended):
                threads.call(forever)
            left.append("finally")

    async def forever() -> None:
        started.append(asyncio.current_task())
        blocked.set()
        await asyncio.get_running_loop().create_future()

    started: list[asyncio.Task[None] | None] = []
    blocked = asyncio.Event()
    running = asyncio.create_task(threads.run(body))
    await blocked.wait()
    threads.suspend()
    assert started[0] is not None
    started[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert left == ["finally"]


async def test_a_blocking_call_on_the_event_loop_is_refused() -> None:
    threads = HandlerThreads("test", lambda: None)
    with pytest.raises(RuntimeError, match="async def"):
        threads.call(lambda: asyncio.sleep(0))
