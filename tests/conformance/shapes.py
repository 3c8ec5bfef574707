"""Starts Rotor in each of its three shapes, as real processes through the real command line.

- `dev`: `rotor dev APP`, no keys;
- `worker`: `rotor server`, and `rotor worker APP` that dials out to it;
- `serve`: `rotor server`, and a FastAPI app under uvicorn that the server calls, registered by `rotor sync`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.conformance.ledger import FOLDER
from tests.dev.processes import eventually, free_port

__all__ = ["SHAPES", "Shape", "start"]

ROOT = Path(__file__).parent.parent.parent
APP = "tests.conformance.functions:FUNCTIONS"
SHAPES = ("dev", "worker", "serve")
START_SECONDS = 60


@dataclass(frozen=True)
class Shape:
    """A Rotor that runs the functions of `tests.conformance.functions`."""

    name: str
    url: str
    dsn: str
    schema: str
    ledger: Path
    environment: Mapping[str, str]
    serve_url: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    """API keys by workspace: `default`, where the functions are served, `other` and `empty`. None in `dev`."""
    signing_key: str = ""

    def rotor(self, *arguments: str) -> Any:
        """The JSON that a command prints."""
        return json.loads(self.rotor_text(*arguments, "--json"))

    def rotor_text(self, *arguments: str) -> str:
        """What a command prints."""
        line = [sys.executable, "-m", "rotor.cli", *arguments]
        answer = subprocess.run(line, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout


@contextmanager
def start(name: str, dsn: str, folder: Path) -> Iterator[Shape]:
    """Start the shape, and stop all of it at the end. Its log is kept in `folder` and shown where it does not start."""
    ledger = folder / "ledger"
    ledger.mkdir()
    schema = f"conformance_{name}_{os.getpid()}"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ROTOR_", "DATABASE_URL"))}
    own = {
        "DATABASE_URL": dsn,
        "ROTOR_SCHEMA": schema,
        "ROTOR_URL": f"http://127.0.0.1:{free_port()}",
        "ROTOR_ALLOW_OUTBOUND": "127.0.0.1",
        "PYTHONUNBUFFERED": "1",
        FOLDER: str(ledger),
    }
    begin = {"dev": _dev, "worker": _worker, "serve": _serve}[name]
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("w+", encoding="utf-8"))
        processes = Processes(stack, log)
        yield begin(Shape(name, own["ROTOR_URL"], dsn, schema, ledger, {**kept, **own}), processes)


class Processes:
    """Processes that are stopped in the reverse order of their start."""

    def __init__(self, stack: ExitStack, log: IO[str]) -> None:
        self._stack = stack
        self._log = log

    def start(self, arguments: list[str], environment: Mapping[str, str], ready: str) -> None:
        """Return once `ready` has been printed."""
        began = self._log.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], cwd=ROOT, env=environment, stdout=self._log, stderr=subprocess.STDOUT
        )
        self._stack.callback(_stop, process)
        deadline = time.monotonic() + START_SECONDS
        while ready not in (said := self._read(began)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{arguments} did not start:\n{said}")
            time.sleep(0.02)

    def _read(self, began: int) -> str:
        self._log.seek(began)
        return self._log.read()


def _dev(shape: Shape, processes: Processes) -> Shape:
    processes.start(["rotor.cli", "dev", APP, "--port", _port(shape), "--no-reload"], shape.environment, "Ready on")
    return shape


def _worker(shape: Shape, processes: Processes) -> Shape:
    shape = _server(shape, processes)
    log_start = {**shape.environment, "ROTOR_LOG": "info"}
    processes.start(["rotor.cli", "worker", APP], log_start, "connected to")
    return shape


def _serve(shape: Shape, processes: Processes) -> Shape:
    shape = _server(shape, processes)
    port = free_port()
    environment = {**shape.environment, "ROTOR_SIGNING_KEY": shape.signing_key}
    app = ["uvicorn", "tests.conformance.served:app", "--port", str(port), "--log-level", "info"]
    processes.start(app, environment, "Application startup complete")
    serve_url = f"http://127.0.0.1:{port}/api/rotor"
    shape.rotor("sync", serve_url)
    return Shape(**{**vars(shape), "serve_url": serve_url})


def _server(shape: Shape, processes: Processes) -> Shape:
    shape.rotor("migrate")
    made = {name: shape.rotor("keys", "create", "--workspace", name) for name in ("default", "other", "empty")}
    keys = {name: one["key"] for name, one in made.items()}
    environment = {**shape.environment, "ROTOR_API_KEY": keys["default"]}
    processes.start(["rotor.cli", "server", "--port", _port(shape)], environment, "Serving on")
    _wait_until_ready(shape.url)
    return Shape(
        **{**vars(shape), "environment": environment, "keys": keys, "signing_key": made["default"]["signing_key"]}
    )


def _wait_until_ready(url: str) -> None:
    def ready() -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    assert eventually(ready, within_seconds=START_SECONDS)


def _port(shape: Shape) -> str:
    return shape.url.rpartition(":")[2]


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
