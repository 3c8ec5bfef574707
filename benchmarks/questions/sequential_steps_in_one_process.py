"""W2 in one process: how many steps a second where server and worker share one event loop, and under `rotor dev`?"""

from __future__ import annotations

from benchmarks.harness.figures import Figure
from benchmarks.harness.programs import module
from benchmarks.harness.stage import Stage
from benchmarks.questions.sequential_steps import cost, rate, repeated


async def ask(stage: Stage) -> list[Figure]:
    """Postgres has processes of its own; `rotor dev` keeps its worker in a child, to reload it."""
    both = stage.program("server and worker", module("benchmarks.one_process", str(stage.port)))
    await both.says("ready")
    bursts = await repeated(stage)
    await both.stop()
    options = ["--port", str(stage.port), "--slots", "1000", "--no-reload"]
    command = module("rotor.cli", "dev", "benchmarks.workflows:functions", *options)
    await stage.program("rotor dev", command).says("Ready on")
    under_dev = await repeated(stage)
    return [
        rate("W2 with server and worker in one process", bursts, reach=10_000, aim=30_000),
        cost("W2 with server and worker in one process: CPU per 1,000 steps", bursts),
        rate("W2 under rotor dev", under_dev, reach=10_000, aim=30_000),
        cost("W2 under rotor dev: CPU per 1,000 steps", under_dev),
    ]
