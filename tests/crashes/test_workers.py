"""Workers die, stop and freeze."""

from __future__ import annotations

import asyncio
import signal
import sys
from functools import partial

import pytest

from rotor import limits
from tests.crashes.bench import BEFORE_LEASES_END, Bench, until


async def test_another_worker_goes_on_where_one_was_killed(bench: Bench) -> None:
    await bench.server()
    first = await bench.worker()
    rotor = bench.client()
    run = (await rotor.events.get(await rotor.send("gated", {"key": "g"}))).runs[0]
    await bench.noted("g", "begin")
    before = await bench.recorded()
    await bench.worker()
    first.kill()
    await bench.noted("g", "begin", times=2, within_seconds=BEFORE_LEASES_END)
    bench.open_gate("g")
    ended = await rotor.runs.wait(run.id, timeout=60)
    assert ended.output == ["before", "end", "after"]
    assert bench.notes("g") == ["before", "begin", "begin", "end", "after"]
    assert (ended.attempt, [step.attempts for step in ended.steps]) == (0, [1, 1, 1]), "the crash used up a retry"
    assert before.items() <= (await bench.recorded()).items()
    assert await bench.findings() == []


async def test_a_worker_that_is_asked_to_stop_ends_its_steps_and_takes_no_more(bench: Bench) -> None:
    await bench.server()
    first = await bench.worker()
    rotor = bench.client()
    ids = [await rotor.send(kind, {"key": kind}) for kind in ("gated", "plain")]
    for key in ("gated", "plain"):
        await bench.noted(key, "begin")
    first.signal(signal.SIGTERM)
    await first.says("stopping")
    later = await rotor.send("chain", {"key": "c", "steps": 1})
    await asyncio.sleep(0.5)
    assert bench.notes("c") == []
    for key in ("gated", "plain"):
        bench.open_gate(key)
    assert await first.ended() == 0
    await bench.worker()
    await bench.all_ended()
    for key in ("gated", "plain"):
        assert bench.notes(key) == ["before", "begin", "end", "after"]
    assert [(await bench.run_of(one)).status for one in [*ids, later]] == ["completed"] * 3
    assert await bench.findings() == []


async def test_a_run_that_kills_its_workers_fails_and_those_beside_it_do_not(bench: Bench) -> None:
    await bench.server()
    worker = await bench.worker()
    rotor = bench.client()
    others = await rotor.send_many([{"name": "gated", "data": {"key": f"g{number}"}} for number in range(5)])
    for number in range(5):
        await bench.noted(f"g{number}", "begin")
    deadly = await rotor.send("deadly", {"key": "deadly"})
    for deaths in range(1, limits.LOSSES + 1):
        await worker.ended()
        await bench.take_leases()
        # At the worst moment: all together, each time.
        await until(partial(lost, bench, deaths))
        assert await bench.statuses() == {"queued": 6}
        if deaths == limits.LOSSES:
            await bench.rows("UPDATE runs SET due_at = 'infinity' WHERE function_id = 'deadly'")
        await bench.rows("UPDATE runs SET due_at = now() WHERE isfinite(due_at)")
        worker = await bench.worker()
    for number in range(5):
        bench.open_gate(f"g{number}")
    await until(lambda: counts(bench, {"completed": 5, "queued": 1}))
    # Alone it shows who it is.
    await bench.rows("UPDATE runs SET due_at = now() WHERE status = 'queued'")
    await bench.all_ended()
    run = await bench.run_of(deadly)
    assert run.status == "failed"
    assert run.error is not None
    assert run.error.name == "WorkerLostError"
    assert [(await bench.run_of(event)).status for event in others] == ["completed"] * 5
    assert await bench.findings() == []


async def lost(bench: Bench, times: int) -> bool:
    """Whether every run has lost its worker so often."""
    return not await bench.rows("SELECT FROM runs WHERE losses < $1", times)


async def counts(bench: Bench, statuses: dict[str, int]) -> bool:
    return await bench.statuses() == statuses


@pytest.mark.parametrize("kind", ["gated", "plain"])
async def test_what_a_frozen_worker_does_after_its_lease_is_refused(bench: Bench, kind: str) -> None:
    await bench.server()
    frozen = await bench.worker()
    event = await bench.client().send(kind, {"key": "g"})
    await bench.noted("g", "begin")
    frozen.signal(signal.SIGSTOP)
    await bench.take_leases()
    await bench.worker()
    await bench.noted("g", "begin", times=2)
    bench.open_gate("g")
    await bench.all_ended()
    before = await bench.recorded()
    runs = await bench.rows("SELECT * FROM runs")
    frozen.signal(signal.SIGCONT)
    await frozen.says("the lease was lost")
    fresh = await bench.client().send("chain", {"key": "c", "steps": 3})
    await bench.all_ended()
    assert await bench.rows("SELECT * FROM runs WHERE event_id = $1", event) == runs
    assert before.items() <= (await bench.recorded()).items()
    assert bench.notes("g").count("after") == 1
    assert (await bench.run_of(fresh)).status == "completed"
    assert await bench.findings() == []


async def test_a_worker_may_forget_parked_runs(bench: Bench) -> None:
    server = await bench.server()
    worker = await bench.program("tests.crashes.forgetful").says("connected to")
    rotor = bench.client()
    keys = [f"p{number}" for number in range(12)]
    events = await rotor.send_many([{"name": "parking", "data": {"key": key}} for key in keys])

    async def parked(step: str) -> bool:
        return len(await bench.rows("SELECT FROM waits WHERE step_id = $1", step)) == len(keys)

    await until(lambda: parked("event"))
    await rotor.send_many([{"name": "news", "data": {"key": key}} for key in keys])
    await until(lambda: parked("signal"))
    server.kill()
    await bench.server()
    await worker.says("connected to", times=2)
    await asyncio.gather(*(rotor.complete_signal(f"signal-{key}", key) for key in keys))
    await bench.all_ended()
    assert [(await bench.run_of(event)).output for event in events] == [[{"key": key}, key] for key in keys]
    assert [bench.notes(key) for key in keys] == [["one", "two", "three", "four"]] * len(keys)
    assert not await bench.rows("SELECT FROM runs WHERE losses > 0")
    assert await bench.findings() == []


async def test_a_worker_that_has_given_its_runs_back_does_not_wait_for_their_threads() -> None:
    script = """
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from rotor.cli.worker import end_process
ThreadPoolExecutor(1).submit(Event().wait)
print("done")
end_process()
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(60):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert (process.returncode, said) == (0, b"done\n")
