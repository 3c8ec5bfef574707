"""Nothing that a run holds, and no key, is printed by anybody, however things fail and however much is logged."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.crashes.bench import Bench, Program
from tests.operate.leaky import MARK, WAYS


@pytest.fixture
async def bench(dsn: str, clean_schema: str, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(dsn, clean_schema, tmp_path)
    await bench.open()
    bench.environment["ROTOR_LOG"] = "debug"
    bench.environment["ROTOR_LOG_FORMAT"] = "json"
    try:
        yield bench
    finally:
        await bench.close()


async def test_nothing_that_a_run_holds_is_printed_however_it_fails(bench: Bench) -> None:
    server = await bench.server()
    worker = bench.program("rotor.cli", "worker", "tests.operate.leaky:FUNCTIONS", "--grace", "1s")
    await worker.says("connected to")
    rotor = bench.client()

    runs = [(await rotor.events.get(await rotor.send("leaky", {"way": way, "secret": MARK}))).runs for way in WAYS]
    runs.append((await rotor.events.get(await rotor.send("typed", {"number": MARK}))).runs)
    for (run,) in runs:
        ended = await rotor.runs.wait(run.id, timeout=60)
        assert (ended.status == "completed") is (ended.output is not None), ended
    (napping,) = (await rotor.events.get(await rotor.send("naps", {"secret": MARK}))).runs
    await bad_requests(bench)
    await rotor.complete_signal(f"signal-{MARK}", {"secret": MARK})
    await rotor.runs.cancel(napping.id)
    assert (await rotor.runs.wait(napping.id, timeout=60)).status == "cancelled"

    arguments = [command_line(program) for program in (server, worker)]
    for program in (worker, server):
        program.signal(signal.SIGTERM)
        assert await program.ended() == 0
    # That there is something to look through, and that it was looked for in the right place.
    assert '"level": "debug"' in server.said + worker.said
    assert len(await bench.rows("SELECT FROM steps WHERE convert_from(error, 'UTF8') LIKE '%' || $1 || '%'", MARK)) >= 2
    secrets = [MARK, bench.environment["ROTOR_API_KEY"], bench.environment["ROTOR_SIGNING_KEY"]]
    for said in (server.said, worker.said, *arguments):
        lines = [line[:300] for line in said.splitlines() if any(secret in line for secret in secrets)]
        assert lines == []


def command_line(program: Program) -> str:
    """What any user of the machine can see of it."""
    return Path(f"/proc/{program.process.pid}/cmdline").read_bytes().decode()


async def bad_requests(bench: Bench) -> None:
    """Requests that are refused, with the mark in every part that is not a path."""
    headers = {"Authorization": f"Bearer {bench.environment['ROTOR_API_KEY']}"}
    event = f'{{"name": "leaky", "data": {{"secret": "{MARK}"}}'
    async with aiohttp.ClientSession(bench.url(), headers=headers) as session:
        for path, body, status in [
            ("/v1/events", event, 400),
            ("/v1/events", event.replace("leaky", "") + "}", 422),
            ("/v1/events", f'{{"name": "rotor/cancel.run", "data": {{"runId": "{MARK}"}}}}', 422),
            ("/v1/functions", f'{{"id": "{MARK}", "serve_url": "http://{MARK}:x/"}}', 422),
            (
                "/v1/functions",
                f'{{"id": "f", "serve_url": "http://127.0.0.1:9/?{MARK}", "trigger_type": "event"}}',
                422,
            ),
        ]:
            async with session.post(path, data=body) as answer:
                assert answer.status == status, await answer.text()
        wrong = {"Authorization": f"Bearer rk_{MARK}"}
        async with session.post("/v1/events", data=event, headers=wrong) as answer:
            assert answer.status == 401
