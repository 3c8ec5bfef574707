"""Starts `rotor dev` for the tests: a real server and worker, with a database that is thrown away."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from rotor import SyncRotor

FOLDER = Path(__file__).parent
START_SECONDS = 60


@pytest.fixture(scope="module")
def rotor(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncRotor]:
    """A client of a server that runs workflows.py with the settings of the fixture `environment`."""
    folder = tmp_path_factory.mktemp("rotor")
    url = f"http://127.0.0.1:{free_port()}"
    own = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "ROTOR_API_KEY")}
    command = [sys.executable, "-m", "rotor.cli", "dev", "workflows.py", "--no-reload"]
    log = folder / "rotor.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", url.rpartition(":")[2], "--data", str(folder / "data")],
            cwd=FOLDER,
            env={**own, **environment, "ROTOR_URL": url, "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_ready(process, log)
        with SyncRotor(base_url=url) as client:
            yield client
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(START_SECONDS)


def wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "Ready on" not in log.read_text(encoding="utf-8"):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"rotor dev did not start:\n{log.read_text(encoding='utf-8')}")
        time.sleep(0.05)


def free_port() -> int:
    """One below those that the system gives to whoever connects or asks for any: nobody takes it meanwhile."""
    for port in random.sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("there is no port left")
