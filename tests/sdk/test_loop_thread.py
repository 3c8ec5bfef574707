"""The background loop serves code that has none, says so where it cannot, and does not outlive a fork."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import AsyncGenerator, Iterator

import pytest

from rotor.sdk.loop_thread import LoopThread, shared_loop_thread


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    loop_thread = LoopThread()
    yield loop_thread
    loop_thread.close()


async def answer(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def fail() -> None:
    raise LookupError("gone")


def test_a_result_or_an_error_comes_back(thread: LoopThread) -> None:
    assert thread.run(answer(3)) == 3
    with pytest.raises(LookupError, match="gone"):
        thread.run(fail())


def test_an_iteration_that_is_left_early_ends_its_source(thread: LoopThread) -> None:
    ended: list[bool] = []

    async def count() -> AsyncGenerator[int]:
        try:
            for number in range(10):
                yield number
        finally:
            ended.append(True)

    numbers = thread.iterate(count())
    assert [next(numbers), next(numbers)] == [0, 1]
    numbers.close()  # type: ignore[attr-defined]
    assert ended == [True]


def test_a_blocking_call_on_the_loop_itself_is_refused(thread: LoopThread) -> None:
    async def block() -> int:
        return thread.run(answer(1))

    with pytest.raises(RuntimeError, match="await the async form"):
        thread.run(block())


def test_closing_ends_what_runs() -> None:
    ended: list[bool] = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def begin() -> asyncio.Task[None]:
        task = asyncio.create_task(hang())
        await asyncio.sleep(0)
        return task

    thread = LoopThread()
    thread.run(begin())
    thread.close()
    thread.close()
    assert ended == [True]


def test_there_is_one_a_process() -> None:
    assert shared_loop_thread() is shared_loop_thread()


def test_a_forked_process_starts_its_own() -> None:
    program = """
        import asyncio, os
        from rotor.sdk.loop_thread import shared_loop_thread

        async def process():
            return os.getpid()

        assert shared_loop_thread().run(process()) == os.getpid()
        child = os.fork()
        if child == 0:
            assert shared_loop_thread().run(process()) == os.getpid()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=30)
