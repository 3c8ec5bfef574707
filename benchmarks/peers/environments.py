"""The peers' packages, pinned, in environments of their own beside the benchmarks; nothing of them is in our lock."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.harness.figures import WrongError
from benchmarks.harness.programs import ROOT

__all__ = ["ABSURD", "DBOS", "RESTATE", "python_environment", "restate_server"]

FOLDER = ROOT / ".peers"
RESTATE = "1.7.12"
DBOS = "3.4.0"
ABSURD = "0.5.1"
PACKAGES = {
    "restate": ("restate-sdk==1.3.0", "hypercorn==0.18.0"),
    "dbos": (f"dbos=={DBOS}",),
    "absurd": (f"absurd-sdk=={ABSURD}", f"absurdctl=={ABSURD}", "psycopg[binary]==3.3.9"),
}


async def python_environment(peer: str) -> Path:
    """The interpreter of a peer's environment, which is made where there is none."""
    folder = FOLDER / peer
    python = folder / "bin" / "python"
    marker = folder / "installed"
    if not marker.exists():
        await _run(sys.executable, "-m", "venv", "--clear", str(folder))
        await _run(str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *PACKAGES[peer])
        marker.touch()
    return python


async def restate_server() -> Path:
    """Restate's server from its npm package."""
    folder = FOLDER / "restate-server"
    program = folder / "node_modules" / ".bin" / "restate-server"
    if not program.exists():
        if shutil.which("npm") is None:
            raise WrongError("npm is not installed, and Restate's server comes as an npm package")
        folder.mkdir(parents=True, exist_ok=True)
        package = f"@restatedev/restate-server@{RESTATE}"
        await _run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), package)
    return program


async def _run(*command: str) -> None:
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WrongError(f"{command[0]} failed: {done.stderr.strip()[-500:]}")
