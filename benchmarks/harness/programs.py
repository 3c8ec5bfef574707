"""Real processes: started, waited for until they are ready, and stopped; their output is kept in a file."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.harness.figures import WrongError

__all__ = ["ROOT", "Program", "free_port", "module"]

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 60
END_SECONDS = 300
"""How long what ends by itself may take. A slow peer on a slow machine takes a minute and more."""
STOP_SECONDS = 30
PORTS = range(20_000, 32_768)


class Program:
    """One process (`python -m ARGUMENTS`, or any command) whose output goes to `log`."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=dict(environment), stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    async def says(self, text: str, *, times: int = 1) -> Program:
        """Return once `text` stands in its output so many times."""
        deadline = time.monotonic() + START_SECONDS
        while self.said.count(text) < times:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise WrongError(f"{self.name} did not start; it said:\n{self.said[-2_000:]}")
            await asyncio.sleep(0.02)
        return self

    async def ends(self) -> None:
        """Return once it has ended well."""
        try:
            code = await asyncio.to_thread(self.process.wait, END_SECONDS)
        except subprocess.TimeoutExpired:
            raise WrongError(f"{self.name} has not ended within {END_SECONDS} s (END_SECONDS)") from None
        if code:
            raise WrongError(f"{self.name} failed; it said:\n{self.said[-2_000:]}")

    async def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            await asyncio.to_thread(self.process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def module(*arguments: str) -> list[str]:
    """The command of a Python module with this interpreter."""
    return [sys.executable, "-m", *arguments]


def free_port() -> int:
    """Below those that the system gives to outgoing connections, which could take it before its program does."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"no port of {PORTS[0]} to {PORTS[-1]} is free")
