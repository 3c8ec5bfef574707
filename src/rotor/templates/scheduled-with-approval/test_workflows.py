"""Runs the workflow on a real server: a Slack of the tests gets the messages, people open the link in them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from rotor import SyncRotor

import settings
from slack import post

FOLDER = Path(__file__).parent
PATIENCE_SECONDS = 40
APPROVAL_SECONDS = 12


class Slack(ThreadingHTTPServer):
    """An incoming webhook that keeps the messages, and is too busy for the first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/services/T0/B0/secret"
        self.busy = True
        self._messages: list[dict[str, Any]] = []
        self._came = threading.Condition()

    def keep(self, message: dict[str, Any]) -> None:
        with self._came:
            self._messages.append(message)
            self._came.notify_all()

    def texts(self) -> list[str]:
        return [message["text"] for message in self._messages]

    def wait_for(self, *words: str) -> str:
        """The first message that has all these words, once it is there."""

        def found() -> list[str]:
            return [text for text in self.texts() if all(word in text for word in words)]

        with self._came:
            assert self._came.wait_for(found, PATIENCE_SECONDS), self.texts()
        return found()[0]


class Handler(BaseHTTPRequestHandler):
    """One message of the workflow."""

    server: Slack

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(429 if self.server.busy else 200)
        if self.server.busy:
            self.send_header("Retry-After", "1")
        else:
            self.server.keep(message)
        self.server.busy = False
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed for each request."""


@pytest.fixture(scope="module")
def slack() -> Iterator[Slack]:
    server = Slack()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def environment(slack: Slack) -> dict[str, str]:
    """Settings under which a test takes seconds."""
    return {
        "SLACK_WEBHOOK_URL": slack.url,
        "APPROVAL_HOURS": str(APPROVAL_SECONDS / 3600),
        "REPORT_CRON": "0 9 * * 1",
        "REPORT_TIMEZONE": "Europe/Paris",
    }


def open_link(address: str, form: dict[str, str] | None = None) -> tuple[int, str]:
    """The status and title of a link's page: opened, or with `form` its button pressed."""
    data = None if form is None else urlencode(form).encode()
    try:
        with urlopen(Request(address, data=data), timeout=10) as answer:
            return answer.status, title(answer.read())
    except HTTPError as error:
        with error:
            return error.code, title(error.read())


def title(page: bytes) -> str:
    """What the page says."""
    return "".join(re.findall("<h1>(.*)</h1>", page.decode()))


@pytest.fixture
def asked(rotor: SyncRotor, slack: Slack) -> tuple[str, str]:
    """A run that waits for its decision: its id, and the link of its message."""
    run_id = start(rotor)
    message = slack.wait_for("May this report go out?", run_id)
    (link,) = re.findall(r"<(http[^|]+)\|Approve or reject>", message)
    assert link.startswith(f"{rotor.base_url}/links/")
    return run_id, link


def start(rotor: SyncRotor) -> str:
    event = rotor.send("report.requested", {})
    return rotor.events.get(event).runs[0].id


def finish(rotor: SyncRotor, run_id: str) -> Any:
    run = rotor.runs.wait(run_id, timeout=PATIENCE_SECONDS)
    assert run.status == "completed", run.error
    return run.output


Asked = tuple[str, str]


def test_approve_publishes_and_its_link_is_used_up(rotor: SyncRotor, slack: Slack, asked: Asked) -> None:
    run_id, link = asked
    assert open_link(link, {"decision": "approve", "by": "Ada <b>"}) == (200, "Thank you: approved.")
    output = finish(rotor, run_id)
    assert (output["status"], output["by"]) == ("published", "Ada <b>")
    assert slack.wait_for("Approved by Ada &lt;b&gt;.")
    assert open_link(link)[0] == 410
    assert open_link(link, {"decision": "reject", "by": "Eve"})[0] == 410


def test_reject_publishes_nothing(rotor: SyncRotor, slack: Slack, asked: Asked) -> None:
    run_id, link = asked
    assert open_link(link, {"decision": "reject", "by": "Grace"})[0] == 200
    output = finish(rotor, run_id)
    assert (output["status"], output["by"]) == ("rejected", "Grace")
    assert slack.wait_for("rejected by Grace")
    assert not any("Approved by Grace" in text for text in slack.texts())


def test_opening_the_link_decides_nothing_and_no_decision_expires(rotor: SyncRotor, slack: Slack, asked: Asked) -> None:
    run_id, link = asked
    assert open_link(link) == (200, "Do you approve?")
    assert finish(rotor, run_id)["status"] == "expired"
    assert slack.wait_for("expired: nobody decided in time")


def test_the_terminal_decides_as_a_link_does(rotor: SyncRotor, slack: Slack, asked: Asked) -> None:
    run_id, link = asked
    message = slack.wait_for("May this report go out?", run_id)
    command = re.findall(r"`rotor signal complete (\S+) '(.*)'`", message)[0]
    subprocess.run(
        [sys.executable, "-m", "rotor.cli", "signal", "complete", *command],
        env={**os.environ, "ROTOR_URL": rotor.base_url},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert finish(rotor, run_id)["status"] == "published"
    assert open_link(link)[0] == 410


def test_the_report_counts_the_runs_of_the_week(rotor: SyncRotor, asked: Asked) -> None:
    first, link = asked
    assert open_link(link, {"decision": "reject", "by": "Ada"})[0] == 200
    assert finish(rotor, first)["status"] == "rejected"
    second = start(rotor)
    rotor.complete_signal(f"report-{second}", {"approved": False, "by": "Ada"})
    lines = finish(rotor, second)["report"]["lines"]
    assert any(re.fullmatch(r"weekly-report: [1-9]\d* completed", line) for line in lines)


def test_it_is_made_on_mondays_at_nine(rotor: SyncRotor) -> None:
    trigger = rotor.functions.get("weekly-report").triggers[0]
    assert (trigger.cron, trigger.timezone) == ("0 9 * * 1", "Europe/Paris")
    assert trigger.next_at is not None
    assert (trigger.next_at.weekday(), trigger.next_at.hour) in ((0, 7), (0, 8))


def test_without_slack_messages_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(settings, "SLACK_WEBHOOK_URL", "")
    asyncio.run(post("hello"))
    assert capsys.readouterr().out == "hello\n"
