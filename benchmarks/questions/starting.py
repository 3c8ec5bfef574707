"""How long do `import rotor`, `rotor --help` and `rotor dev` take until they are ready?"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness.figures import Figure, milliseconds
from benchmarks.harness.programs import ROOT, Program, free_port, module
from benchmarks.harness.stage import Stage

TIMES = 15
LATER_TIMES = 5


async def ask(stage: Stage) -> list[Figure]:
    """A process each; for the import without what Python itself takes to start."""
    times = stage.size(TIMES)
    bare = [run_once([sys.executable, "-c", "pass"]) for _ in range(times)]
    imported = [run_once([sys.executable, "-c", "import rotor"]) - min(bare) for _ in range(times)]
    helped = [run_once(module("rotor.cli", "--help")) for _ in range(times)]
    with TemporaryDirectory(prefix="rotor-dev-") as folder:
        first = [await dev_ready(stage, Path(folder))]
        later = [await dev_ready(stage, Path(folder)) for _ in range(stage.size(LATER_TIMES))]
    return [
        milliseconds("import rotor, p50", imported, 0.5, reach=200, aim=100),
        milliseconds("rotor --help, p50", helped, 0.5, reach=250, aim=120),
        milliseconds("rotor dev ready, first time", first, 0.5, reach=3_000, aim=1_500),
        milliseconds("rotor dev ready, later, p50", later, 0.5, reach=1_500, aim=800),
    ]


def run_once(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1_000


async def dev_ready(stage: Stage, folder: Path) -> float:
    """From the command to `Ready`, with an app of one function and the embedded Postgres in `folder`."""
    command = module("rotor.cli", "dev", "examples/demo.py", "--port", str(free_port()), "--data", str(folder))
    environment = {name: value for name, value in stage.environment.items() if name != "DATABASE_URL"}
    began = time.perf_counter()
    program = Program("rotor dev", command, environment, stage.folder / "dev.log")
    try:
        await program.says("Ready on")
        return (time.perf_counter() - began) * 1_000
    finally:
        await program.stop()
