"""Every example runs as its first lines say, and prints what its last lines say."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from rotor import Rotor, SyncRotor
from rotor.sdk.resources import Run
from tests.conformance.shapes import Processes
from tests.dev.processes import free_port

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
NOT_RUN_HERE = {"demo.py", "local_services.py"}
"""What `task.py demo` runs, and what the others import."""


@dataclass(frozen=True)
class Dev:
    """A `rotor dev` without an app of its own, for all examples."""

    url: str
    dsn: str
    environment: dict[str, str]
    folder: Path

    @contextmanager
    def process(self, *arguments: str, ready: str, **environment: str) -> Iterator[None]:
        """Run `python -m ARGUMENTS` beside it."""
        with ExitStack() as stack, (self.folder / "log").open("a+", encoding="utf-8") as log:
            Processes(stack, log).start(list(arguments), {**self.environment, **environment}, ready)
            yield

    def play(self, example: str, **environment: str) -> str:
        """What the example prints, with a worker for its functions."""
        with self.process("rotor.cli", "worker", f"examples/{example}", ready="connected to", **environment):
            played = subprocess.run(
                [sys.executable, f"examples/{example}"],
                cwd=ROOT,
                env={**self.environment, **environment},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        assert played.returncode == 0, played.stderr
        return played.stdout


@pytest.fixture(scope="module")
def dev(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    folder = tmp_path_factory.mktemp("examples")
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROTOR_", "DATABASE_URL"))}
    environment = {
        **kept,
        "DATABASE_URL": dsn,
        "ROTOR_SCHEMA": f"examples_{os.getpid()}",
        "ROTOR_URL": f"http://127.0.0.1:{port}",
        "ROTOR_LOG": "info",
        "PYTHONUNBUFFERED": "1",
        "API_PORT": str(free_port()),
        "SMTP_PORT": str(free_port()),
    }
    dev = Dev(environment["ROTOR_URL"], dsn, environment, folder)
    with dev.process("rotor.cli", "dev", "--port", str(port), ready="Ready on"):
        yield dev


def output(example: str) -> str:
    """What the last lines of an example say that it prints."""
    _, _, told = (EXAMPLES / example).read_text(encoding="utf-8").rpartition("\n# Output")
    return "".join(f"{line.removeprefix('#').removeprefix(' ')}\n" for line in told.splitlines()[1:])


def test_the_readme_lists_every_example() -> None:
    listed = set(re.findall(r"\((\w+\.py)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8")))
    assert listed == {path.name for path in EXAMPLES.glob("*.py")}


def test_every_example_is_run_here() -> None:
    run = {*PLAYED, *SERVED}
    assert run == {path.name for path in EXAMPLES.glob("*.py")} - NOT_RUN_HERE


PLAYED: dict[str, dict[str, str]] = {
    "welcome_sequence.py": {"INITIAL_WAIT": "300ms"},
    "full_primitives.py": {"INITIAL_DELAY": "100ms", "APPROVAL_TIMEOUT": "10s", "OPEN_TIMEOUT": "500ms"},
    "fan_out.py": {},
    "child_workflow.py": {},
    "cancellation.py": {},
    "cron.py": {},
    "sync_handler.py": {},
}


@pytest.mark.parametrize("example", PLAYED)
def test_an_example_prints_what_it_says(dev: Dev, example: str) -> None:
    assert dev.play(example, **PLAYED[example]) == output(example)


async def test_the_schedule_of_the_report_fires(dev: Dev) -> None:
    schema = dev.environment["ROTOR_SCHEMA"]
    due = (
        f"UPDATE {schema}.triggers SET next_at = '2026-03-02 08:00Z' WHERE function_id = 'weekly-report' AND cron <> ''"
    )
    with dev.process("rotor.cli", "worker", "examples/cron.py", ready="connected to"):
        connection = await asyncpg.connect(dev.dsn)
        try:
            await connection.execute(due)
        finally:
            await connection.close()
        async with Rotor(base_url=dev.url) as rotor:
            run = await fired(rotor, "2026-03-02T08:00:00Z")
            assert (await rotor.runs.wait(run.id)).output == "42 orders, as planned for 2026-03-02T08:00:00Z"


async def fired(rotor: Rotor, planned: str) -> Run:
    """The run that the schedule starts for a time, once it is there."""
    async with asyncio.timeout(60):
        while True:
            runs = (await rotor.runs.list(function_id="weekly-report")).items
            for run in runs:
                if run.event and run.event.name == "rotor/cron" and run.event.data["scheduled_at"] == planned:
                    return run
            await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Served:
    """How an example that is a web app is started (PORT stands for its port), and what a client then asks of it."""

    command: tuple[str, ...]
    ready: str
    path: str


SERVED = {
    "fastapi_app.py": Served(
        ("uvicorn", "--app-dir", "examples", "fastapi_app:app", "--port", "PORT"), "startup complete", "/orders/7"
    ),
    "flask_app.py": Served(
        ("flask", "--app", "examples/flask_app.py", "run", "--port", "PORT"), "Running on", "/invoices/7"
    ),
    "django_app.py": Served(("django_app", "runserver", "--noreload", "PORT"), "Quit the server", "/comments/7"),
}


@pytest.mark.parametrize("example", SERVED)
def test_an_example_serves_its_workflow_beside_its_own_routes(dev: Dev, example: str) -> None:
    served, port = SERVED[example], str(free_port())
    command = [port if part == "PORT" else part for part in served.command]
    own = {"ROTOR_DEV": "1", "PYTHONPATH": str(EXAMPLES)}
    with dev.process(*command, ready=served.ready, **own), SyncRotor(base_url=dev.url) as rotor:
        sync = [sys.executable, "-m", "rotor.cli", "sync", f"http://127.0.0.1:{port}/api/rotor"]
        subprocess.run(sync, env=dev.environment, check=True, capture_output=True)
        event_id = post(f"http://127.0.0.1:{port}{served.path}")["event"]
        (run,) = rotor.events.get(event_id).runs
        run = rotor.runs.wait(run.id, timeout=60)
        assert f"{run.output}\n" == output(example)
        assert post(f"http://127.0.0.1:{port}{served.path}")["event"] == event_id
        assert len(rotor.events.get(event_id).runs) == 1


def post(url: str) -> Any:
    """The JSON that the app answers."""
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60) as answer:
        return json.load(answer)
