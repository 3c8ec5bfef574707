"""`rotor dev` as one process tree: it runs an app, heals on save, keeps its data and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.dev.processes import NOBODY, RotorDev, Whom, as_ordinary_user, eventually, lives, offspring

APP = """
from rotor import Context, create_function

@create_function(id="greet", trigger={"event": "greeting.asked"})
async def greet(ctx: Context) -> str:
    return await ctx.step.run("say", lambda: "GREETING " + ctx.event.data["name"])
"""

Start = Callable[..., RotorDev]


def write_app(folder: Path) -> Path:
    """The app in a file of its own folder, which everybody may enter."""
    for open_to_all in (folder, *folder.parents[:2]):
        open_to_all.chmod(0o755)
    file = folder / "my app" / "flows.py"
    file.parent.mkdir()
    file.write_text(APP.replace("GREETING", "hello"))
    return file


@pytest.fixture(scope="module")
def shared_app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_app(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="module")
def shared(shared_app: Path) -> Iterator[RotorDev]:
    """One that reloads, for the tests that leave it as well as they found it."""
    dev = RotorDev(shared_app, shared_app.parent / "data", "--slots", "7")
    dev.wait_for("Ready on")
    yield dev
    dev.stop()


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return write_app(tmp_path)


@pytest.fixture
def start(app: Path, data_folder: Path) -> Iterator[Start]:
    started: list[RotorDev] = []

    def begin(*options: str, **how: Any) -> RotorDev:
        started.append(RotorDev(app, data_folder, *options, **how))
        return started[-1]

    yield begin
    for one in started:
        one.stop(signal.SIGKILL)


def greeted(dev: RotorDev) -> tuple[str, Any]:
    """Send an event; the id and the output of the run that it started."""
    event = dev.rotor("send", "greeting.asked", '{"name": "Ada"}')["id"]
    found: list[Any] = []

    def ended() -> bool:
        found[:] = dev.rotor("runs", "list", "--event", event, "--status", "completed")["items"]
        return bool(found)

    assert eventually(ended)
    return found[0]["id"], found[0]["output"]


def test_an_event_runs_the_app_and_a_restart_on_its_data_keeps_the_run(start: Start) -> None:
    dev = start()
    dev.wait_for(f"Ready on {dev.url}")
    assert "greet  event greeting.asked" in dev.output
    run_id, output = greeted(dev)
    assert output == "hello Ada"
    everything = offspring(dev.process.pid)
    assert len(everything) > 4
    assert dev.stop(signal.SIGINT) == 0
    assert eventually(lambda: not any(lives(process_id) for process_id in everything), within_seconds=10)

    again = start("--no-reload")
    again.wait_for("Ready on")
    assert again.rotor("runs", "show", run_id)["output"] == "hello Ada"
    assert again.stop(signal.SIGTERM) == 0


def test_its_worker_takes_as_many_runs_at_once_as_it_is_told(shared: RotorDev) -> None:
    with urllib.request.urlopen(f"{shared.url}/dashboard/workers", timeout=60) as page:
        assert "of 7 in use" in page.read().decode()


@pytest.mark.parametrize("whom", [list, as_ordinary_user], ids=["as this user", "as an ordinary user"])
def test_nothing_outlives_a_kill_of_the_main_process(start: Start, app: Path, data_folder: Path, whom: Whom) -> None:
    if whom is as_ordinary_user and os.geteuid() == 0:
        data_folder.mkdir()
        os.chown(data_folder, NOBODY, NOBODY)
    dev = start(whom=whom)
    dev.wait_for("Ready on")
    everything = offspring(dev.process.pid)
    dev.stop(signal.SIGKILL)
    assert eventually(lambda: not any(lives(process_id) for process_id in everything))


def test_a_broken_file_is_told_with_its_line_and_the_next_save_heals(shared: RotorDev, shared_app: Path) -> None:
    before = len(shared.output)
    shared_app.write_text(APP + "\nimport no_such_package\n")
    told = shared.wait_for("It is tried again at the next save.", after=before)
    cause = f"{shared_app}, line 8: ModuleNotFoundError: No module named 'no_such_package'"
    assert cause in shared.output[before:told]
    shared_app.write_text(APP.replace("GREETING", "good evening"))
    shared.wait_for("greet  event greeting.asked", after=told)
    assert greeted(shared)[1] == "good evening Ada"


def test_a_worker_that_dies_is_started_again(shared: RotorDev) -> None:
    before = len(shared.output)
    everything = offspring(shared.process.pid)
    worker = next(one for one in everything if b"rotor.dev.worker" in command_line(one).split(b"\0"))
    os.kill(worker, signal.SIGKILL)
    shared.wait_for("greet  event greeting.asked", after=before)
    assert greeted(shared)[1].endswith("Ada")


def test_a_postgres_that_dies_is_started_again_on_its_data(shared: RotorDev) -> None:
    before = len(shared.output)
    run_id, output = greeted(shared)
    os.kill(int((shared.data / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    shared.wait_for("Postgres ended", after=before)
    assert eventually(lambda: is_ready(shared))
    assert shared.rotor("runs", "show", run_id)["output"] == output


def test_a_second_one_says_which_folder_or_port_is_in_use(shared: RotorDev, shared_app: Path, tmp_path: Path) -> None:
    same_folder = RotorDev(shared_app, shared.data)
    same_port = RotorDev(shared_app, tmp_path / "other", port=shared.port)
    assert same_folder.wait() == 2
    assert same_port.wait() == 2
    assert f"is in use by process {shared.process.pid}" in same_folder.output
    assert f"port {shared.port} of 127.0.0.1 cannot be used" in same_port.output


def test_an_app_that_does_not_load_ends_it_where_nothing_is_reloaded(start: Start, app: Path) -> None:
    app.write_text("1 / 0\n")
    dev = start("--no-reload")
    assert dev.wait() == 2
    assert f"{app}, line 1: ZeroDivisionError: division by zero" in dev.output
    assert "Traceback" not in dev.output


def command_line(process_id: int) -> bytes:
    try:
        return Path(f"/proc/{process_id}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def is_ready(dev: RotorDev) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{dev.url}/readyz", timeout=5) as answer:
        return bool(answer.status == 200)
    return False
