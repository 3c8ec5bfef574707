"""The client commands against a real server: send, look, watch, answer, cancel, replay."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from codecs import getincrementaldecoder
from collections.abc import Iterator
from typing import Any

import pytest

from rotor.cli import exits
from rotor.dev.postgres import Postgres
from tests.cli.terminal import Outcome, rotor
from tests.dev.processes import RotorDev, eventually

APP = """
from rotor import Context, create_function
from rotor.errors import NonRetriableError

@create_function(id="ask", trigger={"event": "question.asked"})
async def ask(ctx: Context) -> str:
    ctx.logger.info("asks %s", ctx.event.data["signal"])
    answer = await ctx.step.wait_for_signal("answer", signal=ctx.event.data["signal"], timeout="1h")
    ctx.logger.warning("\\x1b[2Janswered")
    return await ctx.step.run("repeat", lambda: answer["text"])

@create_function(id="approve", trigger={"event": "approval.asked"})
async def approve(ctx: Context) -> object:
    return await ctx.step.wait_for_signal("approval", signal=ctx.event.data["signal"], timeout="1h")

@create_function(id="break", trigger={"event": "thing.broken"})
async def broken(ctx: Context) -> None:
    raise NonRetriableError("it is beyond repair")
"""

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RotorDev]:
    folder = tmp_path_factory.mktemp("client")
    (folder / "flows.py").write_text(APP)
    server = RotorDev(folder / "flows.py", folder / ".rotor", "--no-reload")
    server.wait_for("Ready on")
    yield server
    server.stop()


def client(dev: RotorDev, *arguments: str, stdin: str = "") -> Outcome:
    return rotor(*arguments, stdin=stdin, ROTOR_URL=dev.url)


def started(dev: RotorDev, name: str, data: Any) -> str:
    """Send an event through standard input; the id of the run that it started."""
    sent = client(dev, "send", name, "-", "--json", stdin=json.dumps(data))
    found: list[str] = []

    def look() -> bool:
        page = client(dev, "runs", "list", "--event", sent.json["id"], "--json").json
        found[:] = [run["id"] for run in page["items"]]
        return bool(found)

    assert eventually(look)
    return found[0]


def waits(dev: RotorDev, signal: str) -> list[Any]:
    return [one for one in client(dev, "signal", "list", "--json").json["items"] if one["signal"] == signal]


def test_a_waiting_run_is_listed_answered_and_watched_to_its_end(dev: RotorDev) -> None:
    run_id = started(dev, "question.asked", {"signal": "s-1"})
    assert eventually(lambda: bool(waits(dev, "s-1")))
    assert waits(dev, "s-1")[0]["run_id"] == run_id
    assert "s-1" in client(dev, "signal", "list").out

    delivered = client(dev, "signal", "complete", "s-1", '{"text": "forty-two"}', "--json")
    assert delivered.json == {"delivered": True, "run_id": run_id}
    again = client(dev, "signal", "complete", "s-1", "{}")
    assert again.code == exits.FAILED
    assert "completed already" in again.err

    link = client(dev, "signal", "link", "s-9", "--expires-in", "1h").out.strip()
    assert link.startswith(f"{dev.url}/links/rl_")
    assert client(dev, "signal", "link", "s-9", "--expires-in", "soon").code == exits.USAGE

    watched = client(dev, "runs", "watch", run_id, "--json")
    assert watched.code == 0
    changes = [json.loads(line) for line in watched.out.splitlines()]
    assert changes[-1]["run"]["output"] == "forty-two"
    assert {"answer", "repeat"} <= {change["step"]["id"] for change in changes if "step" in change}

    shown = client(dev, "runs", "show", run_id).out
    assert "completed" in shown
    assert shown.index("answer") < shown.index("repeat")

    logged = client(dev, "runs", "logs", run_id, "--follow").out.splitlines()
    assert [line.partition("  ")[2] for line in logged] == [
        "info      asks s-1",
        "warning   \N{REPLACEMENT CHARACTER}[2Janswered",
    ]
    lines = [json.loads(line) for line in client(dev, "runs", "logs", run_id, "--json").out.splitlines()]
    assert [line["message"] for line in lines] == ["asks s-1", "\x1b[2Janswered"]


def test_watching_a_run_that_fails_says_why_and_ends_with_one(dev: RotorDev) -> None:
    run_id = started(dev, "thing.broken", None)
    watched = client(dev, "runs", "watch", run_id)
    assert watched.code == exits.FAILED
    assert "break  failed  NonRetriableError: it is beyond repair" in watched.out
    assert run_id in client(dev, "runs", "list", "--status", "failed", "--function", "break").out
    assert "NonRetriableError: it is beyond repair" in client(dev, "runs", "show", run_id).out  # not cut in a pipe


def test_a_run_is_cancelled_once_and_replayed(dev: RotorDev) -> None:
    run_id = started(dev, "question.asked", {"signal": "s-2"})
    assert eventually(lambda: bool(waits(dev, "s-2")))
    assert client(dev, "runs", "cancel", run_id).code == 0
    assert client(dev, "runs", "watch", run_id).code == exits.FAILED
    second = client(dev, "runs", "cancel", run_id)
    assert second.code == exits.FAILED
    assert "Traceback" not in second.err

    replayed = client(dev, "runs", "replay", run_id, "--json").json["run_id"]
    assert replayed != run_id
    assert eventually(lambda: bool(waits(dev, "s-2")))
    assert client(dev, "runs", "cancel", replayed).code == 0


@pytest.mark.parametrize("command", ["show", "watch", "cancel", "replay"])
def test_an_unknown_run_is_not_found(dev: RotorDev, command: str) -> None:
    outcome = client(dev, "runs", command, UNKNOWN)
    assert outcome.code == exits.NOT_FOUND
    assert UNKNOWN in outcome.err
    assert "Traceback" not in outcome.err


def test_the_doctor_finds_nothing_in_a_healthy_database(dev: RotorDev) -> None:
    dsn = Postgres(dev.data).dsn
    outcome = rotor("doctor", "--json", DATABASE_URL=dsn)
    assert outcome.json == {"findings": []}
    assert outcome.code == 0
    assert "All is well" in rotor("doctor", DATABASE_URL=dsn).out


def test_commands_on_the_database_find_that_of_a_dev_server_in_their_folder(
    dev: RotorDev, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(dev.data.parent)
    healthy = rotor("doctor", "--json")
    assert healthy.json == {"findings": []}
    assert f"the `rotor dev` in {dev.data.parent}" in healthy.err
    assert rotor("migrate", "--dry-run", "--json").json == {"pending": []}
    key = rotor("keys", "create", "--name", "mine", "--json").json["key"]
    assert rotor("runs", "list", ROTOR_URL=dev.url, ROTOR_API_KEY=key).code == 0
    assert "mine" in rotor("keys", "list").out
    assert rotor("server").code == exits.USAGE  # production never guesses


def test_a_dev_server_tells_its_addresses(dev: RotorDev) -> None:
    dev.wait_for("Database")
    assert f"{dev.url}/dashboard" in dev.output
    assert eventually(lambda: Postgres(dev.data).dsn in dev.output)


def at_a_terminal(dev: RotorDev, *arguments: str, typed: list[tuple[str, str]]) -> tuple[int, str]:
    """Run a command on a terminal, type each answer once its question is there; the exit code and the screen."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "rotor.cli", *arguments]
    environment = {**os.environ, "ROTOR_URL": dev.url, "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        screen, decoder = "", getincrementaldecoder("utf-8")(errors="replace")
        while part := read_some(ours):
            screen += decoder.decode(part)
            if typed and typed[0][0] in screen:
                os.write(ours, typed.pop(0)[1].encode())
    os.close(ours)
    assert typed == [], screen
    return process.returncode, re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", screen)


def read_some(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # EIO: the other side has closed it
        return b""


def which(dev: RotorDev, signal: str) -> list[tuple[str, str]]:
    """The answer to the question which signal is meant, which is asked where there are several."""
    lines = client(dev, "signal").out.splitlines()
    (number,) = [line.split()[0] for line in lines if signal in line]
    return [("Which one", f"{number}\r")] if len(lines) > 2 else []


def test_signal_alone_lists_what_waits_and_asks_for_the_answer(dev: RotorDev) -> None:
    run_id = started(dev, "question.asked", {"signal": "s-asked"})
    assert eventually(lambda: bool(waits(dev, "s-asked")))
    assert "leaves it" not in client(dev, "signal").out  # no terminal, no question

    answers = [("leaves it", "{text\r"), ("is not JSON", '{"text": "typed"}\r')]
    code, screen = at_a_terminal(dev, "signal", typed=[*which(dev, "s-asked"), *answers])
    assert code == 0, screen
    assert f"Delivered to run {run_id}" in screen
    assert json.loads(client(dev, "runs", "watch", run_id, "--json").out.splitlines()[-1])["run"]["output"] == "typed"


def test_approving_at_a_terminal_sends_what_the_templates_wait_for(dev: RotorDev) -> None:
    run_id = started(dev, "approval.asked", {"signal": "s-approved"})
    assert eventually(lambda: bool(waits(dev, "s-approved")))
    assert at_a_terminal(dev, "signal", typed=[*which(dev, "s-approved"), ("leaves it", "\r")])[0] == 0
    assert waits(dev, "s-approved")
    at_a_terminal(dev, "signal", typed=[*which(dev, "s-approved"), ("leaves it", "a\r")])
    watched = client(dev, "runs", "watch", run_id, "--json").out.splitlines()
    assert json.loads(watched[-1])["run"]["output"] == {"approved": True}


def test_watching_on_a_terminal_draws_the_tree_of_steps(dev: RotorDev) -> None:
    run_id = started(dev, "question.asked", {"signal": "s-drawn"})
    assert eventually(lambda: bool(waits(dev, "s-drawn")))
    client(dev, "signal", "complete", "s-drawn", '{"text": "seen"}')
    code, screen = at_a_terminal(dev, "runs", "watch", run_id, typed=[])
    assert code == 0
    assert "✓ ask" in screen
    assert "└── ✓ repeat" in screen
