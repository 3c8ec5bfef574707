"""Restate: its server and a service on its Python SDK, as processes of their own."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

import aiohttp

from benchmarks.arithmetic import expected_value
from benchmarks.harness.figures import WrongError
from benchmarks.harness.programs import free_port
from benchmarks.harness.stage import Stage
from benchmarks.harness.usage import Tree, usage
from benchmarks.peers.environments import python_environment, restate_server

__all__ = ["measure"]

CONNECTIONS = 64
LOOK_SECONDS = 0.1
READY_SECONDS = 60
GIVEN_UP_AFTER_SECONDS = 120
WARM_UP_RUNS = 200
Ledger = dict[int, tuple[int, list[float]]]
"""By its number: what a run came to, and when its steps began."""


class Restate:
    """A running server with the service registered."""

    def __init__(self, stage: Stage, session: aiohttp.ClientSession) -> None:
        self._stage = stage
        self._session = session
        self._ingress, self._admin, self._node, self._service = (free_port() for _ in range(4))
        self._file = stage.folder / "restate-ledger"
        self._trees: list[Tree] = []
        self._first = 0

    async def start(self) -> None:
        server, python = await restate_server(), await python_environment("restate")
        environment = {
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{self._ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{self._admin}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{self._node}",
            "RESTATE_LOG_FILTER": "warn",
            "DO_NOT_TRACK": "1",
        }
        folder = self._stage.folder / "restate"
        programs = [
            self._stage.program("restate", [str(server), "--base-dir", str(folder)], **environment),
            self._stage.program(
                "restate service",
                [str(python), "-m", "benchmarks.peers.restate_app"],
                PORT=str(self._service),
                LEDGER=str(self._file),
            ),
        ]
        self._trees = [Tree(program.name, program.process.pid) for program in programs]
        deadline = time.monotonic() + READY_SECONDS
        while not await self._registered():
            if time.monotonic() > deadline:
                raise WrongError("Restate did not start: " + " ".join(program.said[-500:] for program in programs))
            await asyncio.sleep(LOOK_SECONDS)

    async def burst(self, runs: int, steps: int) -> tuple[float, float]:
        """Steps a second, and CPU seconds of all processes per 1,000 steps."""
        numbers = range(self._first, self._first + runs)
        self._first += runs
        before, sending, began = usage(self._trees), time.process_time(), time.time()
        pending = list(numbers)
        await asyncio.gather(*(self._send(pending, steps) for _ in range(CONNECTIONS)))
        await self._until_idle()
        ended = self._ended()
        spent = usage(self._trees).since(before)["all"] + time.process_time() - sending
        self._check(ended, numbers, steps)
        seconds = self._file.stat().st_mtime - began
        return runs * steps / seconds, spent / (runs * steps) * 1_000

    async def one(self, steps: int) -> tuple[float, list[float]]:
        """Milliseconds of one run from the call to its result, and of its steps."""
        n, self._first = self._first, self._first + 1
        began = time.time()
        value = await self._post(f"{self._url}/bench/chain", {"n": n, "steps": steps})
        took = (time.time() - began) * 1_000
        if value != expected_value(n, steps):
            raise WrongError(f"Restate returned {value}")
        begins = self._ended()[n][1]
        return took, [(later - earlier) * 1_000 for earlier, later in pairwise(begins)]

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._ingress}"

    async def _registered(self) -> bool:
        try:
            await self._post(
                f"http://127.0.0.1:{self._admin}/deployments", {"uri": f"http://127.0.0.1:{self._service}"}
            )
        except (aiohttp.ClientError, WrongError):
            return False
        return True

    async def _send(self, pending: list[int], steps: int) -> None:
        while pending:
            await self._post(f"{self._url}/bench/chain/send", {"n": pending.pop(), "steps": steps})

    async def _post(self, url: str, body: Any) -> Any:
        async with self._session.post(url, json=body) as answer:
            if answer.status >= 300:
                raise WrongError(f"Restate answered {answer.status}: {(await answer.text())[:300]}")
            return await answer.json()

    async def _until_idle(self) -> None:
        """Until the server has no run left: only then are their ends on record."""
        deadline = time.monotonic() + GIVEN_UP_AFTER_SECONDS
        query = {"query": "SELECT count(*) AS n FROM sys_invocation WHERE status <> 'completed'"}
        headers = {"accept": "application/json"}
        while True:
            url = f"http://127.0.0.1:{self._admin}/query"
            async with self._session.post(url, json=query, headers=headers) as answer:
                if (await answer.json())["rows"][0]["n"] == 0:
                    return
            if time.monotonic() > deadline:
                raise WrongError("Restate did not end all runs")
            await asyncio.sleep(LOOK_SECONDS)

    def _ended(self) -> Ledger:
        lines = [line.split() for line in self._file.read_text(encoding="ascii").splitlines()]
        return {int(line[0]): (int(line[1]), [float(began) for began in line[2:]]) for line in lines}

    def _check(self, ended: Ledger, numbers: range, steps: int) -> None:
        for n in numbers:
            if n not in ended or ended[n][0] != expected_value(n, steps):
                raise WrongError(f"Restate's run {n} came to {ended.get(n)}")


async def measure(
    stage: Stage, *, runs: int, steps: int, times: int, single_runs: int, single_steps: int
) -> dict[str, list[float]]:
    """Rates, costs, and milliseconds of runs and steps that are alone."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        peer = Restate(stage, session)
        await peer.start()
        await peer.burst(WARM_UP_RUNS, steps)
        bursts = [await peer.burst(runs, steps) for _ in range(times)]
        singles = [await peer.one(single_steps) for _ in range(single_runs)]
    return {
        "rates": [rate for rate, _ in bursts],
        "costs": [cost for _, cost in bursts],
        "run_ms": [run for run, _ in singles],
        "step_ms": [step for _, steps_of_run in singles for step in steps_of_run],
    }
