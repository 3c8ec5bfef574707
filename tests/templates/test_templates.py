"""Each template is added to an empty folder by the command line; its own tests, which take every branch, pass there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rotor import SyncRotor
from rotor.errors import ApiError
from tests.cli.terminal import rotor
from tests.dev.processes import eventually
from tests.docs import shell
from tests.docs.server import DocsServer

NAMES = ["event-driven-enrichment", "multi-step-outbound", "scheduled-with-approval"]


def add(name: str, folder: Path) -> Path:
    outcome = rotor("template", "add", name, "--into", str(folder / name))
    assert outcome.code == 0, outcome.err
    return folder / name


@pytest.fixture(scope="module", params=NAMES)
def added(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add(request.param, tmp_path_factory.mktemp("user"))


@pytest.mark.timeout(300)
def test_its_own_tests_pass_in_the_user_s_folder(added: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"], cwd=added, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    summary = ended.stdout.splitlines()[-1]
    assert re.search(r"\d+ passed", summary)
    assert not re.search(r"skipped|xfailed|deselected|warning", summary)


def test_its_tests_start_rotor_as_those_of_the_others_do(added: Path, tmp_path: Path) -> None:
    first = add(NAMES[0], tmp_path)
    assert (added / "conftest.py").read_text() == (first / "conftest.py").read_text()


def test_its_readme_has_every_setting_and_no_other(added: Path) -> None:
    read = set(re.findall(r'environ\.get\("([A-Z_]+)"', (added / "settings.py").read_text()))
    rows = [line.split("|")[1] for line in (added / "README.md").read_text().splitlines() if line.startswith("| `")]
    told = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}
    assert told - {"ROTOR_URL", "ROTOR_API_KEY"} == read


def test_its_readme_says_commands_that_there_are(added: Path) -> None:
    readme = (added / "README.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)
    commands = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    for words in commands:
        match words:
            case ["rotor", *arguments]:
                shell.parse(arguments)
            case ["python", file, *_] if not file.startswith("-"):
                assert (added / file).is_file()
    assert ["rotor", "dev", "workflows.py"] in commands


# --- the schedule, which no test can wait for: the clock of the server is moved


@pytest.fixture
def server(dsn: str) -> Iterator[DocsServer]:
    server = DocsServer(dsn, f"templates_{os.getpid()}")
    yield server
    server.stop()


@pytest.fixture
def client(server: DocsServer, tmp_path: Path) -> Iterator[SyncRotor]:
    """A client of the server, whose worker runs the report with the settings that it has out of the box."""
    key = server.create_key("default").key
    folder = add("scheduled-with-approval", tmp_path)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ROTOR_", "DATABASE_"))}
    worker = subprocess.Popen(
        [sys.executable, "-m", "rotor.cli", "worker", "workflows.py"],
        cwd=folder,
        env={**environment, "ROTOR_URL": server.url, "ROTOR_API_KEY": key},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with SyncRotor(key, server.url) as client:
        assert eventually(lambda: knows_the_report(client))
        yield client
    worker.terminate()
    worker.communicate(timeout=60)


def knows_the_report(client: SyncRotor) -> bool:
    try:
        client.functions.get("weekly-report")
    except ApiError as error:
        if error.status != 404:
            raise
        return False
    return True


def fire(server: DocsServer, client: SyncRotor) -> str:
    """Move the clock to the next Monday at nine; the run that starts then, once it waits."""
    known = {run.id for run in client.runs.list(function_id="weekly-report").items}
    due = client.functions.get("weekly-report").triggers[0].next_at
    assert due is not None
    assert (due.weekday(), due.hour, due.minute) == (0, 9, 0)
    server.advance(due - server.now() + timedelta(seconds=1))
    started: list[str] = []

    def waits() -> bool:
        runs = client.runs.list(function_id="weekly-report", status="waiting").items
        started[:] = [run.id for run in runs if run.id not in known]
        return bool(started)

    assert eventually(waits)
    return started[0]


def finish(client: SyncRotor, run_id: str) -> Any:
    run = client.runs.wait(run_id, timeout="60s")
    assert run.status == "completed", run.error
    return run.output


def test_the_schedule_makes_a_report_that_is_approved_or_expires(server: DocsServer, client: SyncRotor) -> None:
    approved = fire(server, client)
    client.complete_signal(f"report-{approved}", {"approved": True, "by": "Ada"})
    assert finish(client, approved)["status"] == "published"

    expired = fire(server, client)
    server.advance(timedelta(hours=48, seconds=1))
    assert finish(client, expired)["status"] == "expired"
