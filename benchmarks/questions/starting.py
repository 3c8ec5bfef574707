"""How long do `import rotor`, `rotor --help` and `rotor dev` take until they are ready?"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness.figures import Figure, milliseconds
from benchmarks.harness.programs import ROOT, Program, free_port, module
from benchmarks.harness.stage import Stage

TIMES = 15
LATER_TIMES = 5


async def ask(stage: Stage) -> list[Figure]:
    """A process each, for the import without what Python itself takes to start. All is compiled before, as pip leaves
    it behind."""
    times = stage.size(TIMES)
    with TemporaryDirectory(prefix="rotor-dev-") as name:
        folder = Path(name)
        compiled = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
        compiled.pop("PYTHONDONTWRITEBYTECODE", None)
        await dev_ready(stage, folder / "warm-up", compiled)
        bare = [run_once([sys.executable, "-c", "pass"], compiled) for _ in range(times)]
        imported = [run_once([sys.executable, "-c", "import rotor"], compiled) - min(bare) for _ in range(times)]
        helped = [run_once(module("rotor.cli", "--help"), compiled) for _ in range(times)]
        first = [await dev_ready(stage, folder / "data", compiled)]
        later = [await dev_ready(stage, folder / "data", compiled) for _ in range(stage.size(LATER_TIMES))]
    return [
        milliseconds("import rotor, p50", imported, 0.5, reach=200, aim=100),
        milliseconds("rotor --help, p50", helped, 0.5, reach=250, aim=120),
        milliseconds("rotor dev ready, first time", first, 0.5, reach=3_000, aim=1_500),
        milliseconds("rotor dev ready, later, p50", later, 0.5, reach=1_500, aim=800),
    ]


def run_once(command: list[str], environment: Mapping[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1_000


async def dev_ready(stage: Stage, folder: Path, compiled: Mapping[str, str]) -> float:
    """From the command to `Ready`, with an app of one function and the embedded Postgres in `folder`."""
    command = module("rotor.cli", "dev", "examples/demo.py", "--port", str(free_port()), "--data", str(folder))
    environment = {name: value for name, value in compiled.items() if not name.startswith(("ROTOR_", "DATABASE_URL"))}
    began = time.perf_counter()
    program = Program("rotor dev", command, environment, stage.folder / "dev.log")
    try:
        await program.says("Ready on")
        return (time.perf_counter() - began) * 1_000
    finally:
        await program.stop()
