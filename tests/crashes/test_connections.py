"""Connections break in the ways that only one end sees, and no run is left with a holder that knows nothing of it."""

from __future__ import annotations

import asyncio
import json

import aiohttp

from tests.crashes.bench import BEFORE_LEASES_END, Bench, until
from tests.crashes.proxy import proxied
from tests.dev.processes import free_port
from tests.store.tables import locked


async def test_a_server_whose_worker_has_moved_on_claims_no_runs_for_it(bench: Bench) -> None:
    other = free_port()
    await bench.server()
    await bench.server(other)
    async with proxied(bench.port) as proxy:
        worker = await bench.worker(port=proxy.port)
        proxy.target = other
        proxy.lose_clients()
        await worker.says("trying again")
        await worker.says("connected to", times=2)
        # The first server has not noticed, and learns of these runs first.
        rotor = bench.client()
        await rotor.send_many([{"name": "chain", "data": {"key": "c", "steps": 2}}] * 20)
        await bench.all_ended(BEFORE_LEASES_END)
    assert await bench.findings() == []


async def test_a_connection_whose_worker_has_come_back_is_closed(bench: Bench) -> None:
    """Else each break of a line that the server does not see would leave it a socket."""
    server = await bench.server()
    async with proxied(bench.port) as proxy:
        worker = await bench.worker(port=proxy.port)
        rotor = bench.client()
        event = await rotor.send("gated", {"key": "g"})
        await bench.noted("g", "begin")
        proxy.lose_clients()
        await worker.says("connected to", times=2)
        await server.says("its worker has connected again")
        bench.open_gate("g")
        await bench.all_ended(BEFORE_LEASES_END)
        assert (await bench.run_of(event)).status == "completed"
        assert bench.notes("g") == ["before", "begin", "end", "after"]
    assert await bench.findings() == []


async def test_a_worker_that_comes_back_to_a_full_server_waits_and_gets_again_what_it_never_heard_of(
    bench: Bench,
) -> None:
    settings = json.dumps({"rotor.limits:COMMIT_QUEUE": 1})
    server = bench.program("tests.crashes.launch", "rotor.cli", "server", "--port", str(bench.port), SETTINGS=settings)
    await server.says("Serving on")
    rotor = bench.client()
    async with proxied(bench.port) as proxy:
        worker = bench.program(
            "tests.crashes.launch", "rotor.cli", "worker", "tests.crashes.workflows", ROTOR_URL=bench.url(proxy.port)
        )
        await worker.says("connected to")
        in_the_way = await rotor.send("gated", {"key": "g"})
        await bench.noted("g", "begin")
        run_id = (await bench.run_of(in_the_way)).id
        proxy.is_silent = True
        event = await rotor.send("chain", {"key": "c", "steps": 1})
        await until(lambda: counts(bench, {"running": 2}))
        async with locked(bench.database, "SELECT FROM runs WHERE id::text = $1 FOR UPDATE", run_id):
            cancelling = await fill(bench, f"/v1/runs/{run_id}/cancel")
            proxy.heal()
            await worker.says("did not answer the greeting")
        await worker.says("connected to", times=2)
        await asyncio.gather(*cancelling)
        bench.open_gate("g")
        await bench.all_ended(BEFORE_LEASES_END)
    assert (await bench.run_of(event)).status == "completed"
    assert bench.notes("c") == ["0"]
    assert not await bench.rows("SELECT FROM runs WHERE losses > 0")
    assert await bench.findings() == []


async def counts(bench: Bench, statuses: dict[str, int]) -> bool:
    return await bench.statuses() == statuses


async def fill(bench: Bench, path: str) -> list[asyncio.Task[int]]:
    """Ask for the same again and again, until the server says that its queue is full; the requests."""

    async def post() -> int:
        key = bench.environment["ROTOR_API_KEY"]
        async with (
            aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}) as http,
            http.post(bench.url() + path) as answer,
        ):
            return answer.status

    posts: list[asyncio.Task[int]] = []
    while not any(post.done() and post.result() == 503 for post in posts):
        posts.append(asyncio.create_task(post()))
        await asyncio.sleep(0.05)
    return posts
