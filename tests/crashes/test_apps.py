"""Apps that are served over HTTP die in the middle, or cannot call back."""

from __future__ import annotations

import signal

from rotor import limits
from tests.crashes.bench import BEFORE_LEASES_END, Bench, Program, until
from tests.dev.processes import free_port


async def test_another_invocation_goes_on_where_an_app_was_killed(bench: Bench) -> None:
    port = free_port()
    await bench.server()
    first = await bench.app(port)
    await bench.sync(port)
    rotor = bench.client()
    run = (await rotor.events.get(await rotor.send("gated", {"key": "g"}))).runs[0]
    await bench.noted("g", "begin")
    before = await bench.recorded()
    first.kill()
    bench.open_gate("g")
    await bench.app(port)
    assert (await rotor.runs.wait(run.id, timeout=BEFORE_LEASES_END)).output == ["before", "end", "after"]
    assert bench.notes("g") == ["before", "begin", "begin", "end", "after"]
    assert before.items() <= (await bench.recorded()).items()
    assert await bench.findings() == []


async def test_a_run_that_kills_its_app_each_time_fails_and_one_beside_it_does_not(bench: Bench) -> None:
    port = free_port()
    await bench.server()
    app = await bench.app(port)
    await bench.sync(port)
    rotor = bench.client()
    beside = await rotor.send("gated", {"key": "g"})
    await bench.noted("g", "begin")
    deadly = await rotor.send("deadly", {"key": "d"})
    while await queued(bench, app):
        app = await bench.app(port)
        await bench.rows("UPDATE runs SET due_at = now() WHERE status = 'queued' AND function_id = 'deadly'")
    run = await bench.run_of(deadly)
    assert run.status == "failed"
    assert run.error is not None
    assert run.error.name == "WorkerLostError"
    # Where the one beside it is tried at the same time, either may be to blame.
    assert limits.LOSSES <= bench.notes("d").count("die") <= limits.LOSSES_IN_COMPANY + 1
    bench.open_gate("g")
    await bench.app(port)
    await bench.rows("UPDATE runs SET due_at = now() WHERE status = 'queued'")
    await bench.all_ended()
    assert (await bench.run_of(beside)).status == "completed"
    assert await bench.findings() == []


async def queued(bench: Bench, app: Program) -> bool:
    """Once the app has died and its server knows: whether the deadly run is to be tried again."""

    status = ""

    async def known() -> bool:
        nonlocal status
        ((status,),) = await bench.rows("SELECT status FROM runs WHERE function_id = 'deadly'")
        return status == "failed" or (status == "queued" and app.process.poll() is not None)

    await until(known)
    return status == "queued"  # as it was found: it may be tried again by now


async def _completes(bench: Bench, public_url: str) -> None:
    port = free_port()
    await bench.server(None, "--public-url", public_url)
    await bench.app(port)
    await bench.sync(port)
    rotor = bench.client()
    bench.open_gate("g")
    run = (await rotor.events.get(await rotor.send("gated", {"key": "g"}))).runs[0]
    ended = await rotor.runs.wait(run.id, timeout=60)
    assert ended.output == ["before", "end", "after"]
    assert bench.notes("g") == ["before", "begin", "end", "after"]
    assert await bench.findings() == []


async def test_without_a_call_back_runs_complete(bench: Bench) -> None:
    await _completes(bench, f"http://127.0.0.1:{free_port()}")


async def test_where_a_stranger_answers_the_call_back_runs_complete(bench: Bench) -> None:
    """A wrong public URL often leads to some other web server, which answers 404."""
    stranger = free_port()
    await bench.program("http.server", str(stranger), "--bind", "127.0.0.1").says("Serving")
    await _completes(bench, f"http://127.0.0.1:{stranger}")


async def test_an_invocation_outlives_its_server(bench: Bench) -> None:
    """What it does meanwhile is committed by the next server, and it ends by call-back: nobody reads its response."""
    port = free_port()
    server = await bench.server()
    await bench.app(port)
    await bench.sync(port)
    event = await bench.client().send("gated", {"key": "g"})
    await bench.noted("g", "begin")
    server.kill()
    await bench.server()
    bench.open_gate("g")
    await bench.all_ended(BEFORE_LEASES_END)
    assert bench.notes("g") == ["before", "begin", "end", "after"]
    assert (await bench.run_of(event)).status == "completed"
    assert await bench.findings() == []


async def test_a_server_that_is_asked_to_stop_leaves_invocations_to_the_next(bench: Bench) -> None:
    port = free_port()
    server = await bench.server()
    await bench.app(port)
    await bench.sync(port)
    event = await bench.client().send("gated", {"key": "g"})
    await bench.noted("g", "begin")
    await until(lambda: recorded(bench, "gate"))
    server.signal(signal.SIGTERM)
    await server.ended()
    await bench.server()
    bench.open_gate("g")
    # The app knows that nobody reads its response, so its last message comes by call-back.
    await bench.all_ended(BEFORE_LEASES_END)
    assert bench.notes("g") == ["before", "begin", "end", "after"]
    assert (await bench.run_of(event)).status == "completed"
    assert await bench.findings() == []


async def recorded(bench: Bench, step: str) -> bool:
    return bool(await bench.rows("SELECT FROM steps WHERE id = $1", step))
