"""W2 over `serve_workflow`: how many steps a second where each is committed by an HTTP call-back?"""

from __future__ import annotations

from benchmarks.harness.figures import Figure
from benchmarks.harness.load import burst
from benchmarks.harness.programs import free_port, module
from benchmarks.harness.stage import Stage
from benchmarks.questions.sequential_steps import STEPS, WARM_UP_RUNS, cost, rate

RUNS = 1_000
TIMES = 3


async def ask(stage: Stage) -> list[Figure]:
    """The same runs under uvicorn, in half the number."""
    await stage.server()
    await serve(stage)
    await burst(stage, WARM_UP_RUNS, STEPS)
    bursts = [await burst(stage, stage.size(RUNS), STEPS) for _ in range(TIMES)]
    return [
        rate("W2 over serve_workflow", bursts, reach=2_000, aim=5_000),
        cost("W2 over serve_workflow: CPU of all processes per 1,000 steps", bursts),
    ]


async def serve(stage: Stage) -> None:
    """The workflows as a web app that the server knows."""
    port = free_port()
    command = module("uvicorn", "benchmarks.served:app", "--port", str(port), "--log-level", "info", "--no-access-log")
    await stage.program("app", command).says("Application startup complete")
    url = f"http://127.0.0.1:{port}/api/rotor"
    await stage.program("sync", module("rotor.cli", "sync", url)).ends()
