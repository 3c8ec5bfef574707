"""The client commands against a real server: send, look, watch, answer, cancel, replay."""

from __future__ import annotations

import json
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
    answer = await ctx.step.wait_for_signal("answer", signal=ctx.event.data["signal"], timeout="1h")
    return await ctx.step.run("repeat", lambda: answer["text"])

@create_function(id="break", trigger={"event": "thing.broken"})
async def broken(ctx: Context) -> None:
    raise NonRetriableError("it is beyond repair")
"""

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RotorDev]:
    folder = tmp_path_factory.mktemp("client")
    (folder / "flows.py").write_text(APP)
    server = RotorDev(folder / "flows.py", folder / "data", "--no-reload")
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

    watched = client(dev, "runs", "watch", run_id, "--json")
    assert watched.code == 0
    changes = [json.loads(line) for line in watched.out.splitlines()]
    assert changes[-1]["run"]["output"] == "forty-two"
    assert {"answer", "repeat"} <= {change["step"]["id"] for change in changes if "step" in change}

    shown = client(dev, "runs", "show", run_id).out
    assert "completed" in shown
    assert shown.index("answer") < shown.index("repeat")


def test_watching_a_run_that_fails_says_why_and_ends_with_one(dev: RotorDev) -> None:
    run_id = started(dev, "thing.broken", None)
    watched = client(dev, "runs", "watch", run_id)
    assert watched.code == exits.FAILED
    assert "break  failed  NonRetriableError: it is beyond repair" in watched.out
    assert run_id in client(dev, "runs", "list", "--status", "failed", "--function", "break").out


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
