"""Connections break in the ways that only one end sees, and no run is left with a holder that knows nothing of it."""

from __future__ import annotations

from tests.crashes.bench import Bench
from tests.crashes.proxy import proxied
from tests.dev.processes import free_port


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
        await bench.all_ended(10)
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
        await bench.all_ended(10)
        assert (await bench.run_of(event)).status == "completed"
        assert bench.notes("g") == ["before", "begin", "end", "after"]
    assert await bench.findings() == []
