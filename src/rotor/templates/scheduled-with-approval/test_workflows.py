"""Runs the workflow on a real server: a Slack of the tests gets the messages, people open their links."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import Request, urlopen

import pytest
from rotor import SyncRotor

import settings
from conftest import free_port
from links import make_link
from slack import post

FOLDER = Path(__file__).parent
SECRET = "of the tests, long enough to be taken"
PATIENCE_SECONDS = 40
APPROVAL_SECONDS = 6


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
    port = str(free_port())
    return {
        "SLACK_WEBHOOK_URL": slack.url,
        "APPROVAL_SECRET": SECRET,
        "APPROVAL_HOST": "127.0.0.1",
        "APPROVAL_PORT": port,
        "APPROVAL_URL": f"http://127.0.0.1:{port}",
        "APPROVAL_HOURS": str(APPROVAL_SECONDS / 3600),
        "REPORT_CRON": "0 9 * * 1",
        "REPORT_TIMEZONE": "Europe/Paris",
    }


@pytest.fixture(scope="module")
def site(rotor: SyncRotor, environment: dict[str, str]) -> Iterator[str]:
    """The address of a running approvals.py."""
    process = subprocess.Popen(
        [sys.executable, "approvals.py"],
        cwd=FOLDER,
        env={**os.environ, **environment, "ROTOR_URL": rotor.base_url},
        stdout=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{environment['APPROVAL_PORT']}"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not answers(address):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield address
    process.terminate()
    process.wait(10)


def answers(address: str) -> bool:
    try:
        return open_link(address)[0] == 404
    except URLError:
        return False


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
def asked(rotor: SyncRotor, slack: Slack, site: str) -> tuple[str, str, str]:
    """A run that waits for its decision: its id, and the links of its message."""
    run_id = start(rotor)
    message = slack.wait_for("May this report go out?", run_id)
    approve, reject = (unescape(link) for link in re.findall(r"<(http[^|]+)\|(?:Approve|Reject)>", message))
    assert approve.startswith(f"{site}/approvals/{run_id}/approve?")
    return run_id, approve, reject


def start(rotor: SyncRotor) -> str:
    event = rotor.send("report.requested", {})
    return rotor.events.get(event).runs[0].id


def finish(rotor: SyncRotor, run_id: str) -> Any:
    run = rotor.runs.wait(run_id, timeout=PATIENCE_SECONDS)
    assert run.status == "completed", run.error
    return run.output


Asked = tuple[str, str, str]


def test_approve_publishes_and_its_links_are_used_up(rotor: SyncRotor, slack: Slack, asked: Asked) -> None:
    run_id, approve, reject = asked
    assert open_link(approve, {"by": "Ada <b>"}) == (200, "Thank you: approved.")
    output = finish(rotor, run_id)
    assert (output["status"], output["by"]) == ("published", "Ada <b>")
    assert slack.wait_for("Approved by Ada &lt;b&gt;.")
    for link in (approve, reject):
        assert open_link(link) == (410, "This report is decided already.")
        assert open_link(link, {"by": "Eve"})[0] == 410


def test_reject_publishes_nothing(rotor: SyncRotor, slack: Slack, asked: Asked) -> None:
    run_id, _, reject = asked
    assert open_link(reject, {"by": "Grace"})[0] == 200
    output = finish(rotor, run_id)
    assert (output["status"], output["by"]) == ("rejected", "Grace")
    assert slack.wait_for("rejected by Grace")
    assert not any("Approved by Grace" in text for text in slack.texts())


def test_opening_a_link_decides_nothing_and_no_decision_expires(rotor: SyncRotor, slack: Slack, asked: Asked) -> None:
    run_id, approve, _ = asked
    assert open_link(approve) == (200, "Do you want to approve the report?")
    assert finish(rotor, run_id)["status"] == "expired"
    assert slack.wait_for("expired: nobody decided in time")
    assert open_link(approve, {"by": "Late"})[0] == 410


def test_of_two_who_decide_at_once_one_is_heard(rotor: SyncRotor, asked: Asked) -> None:
    run_id, approve, reject = asked
    statuses: dict[str, int] = {}

    def press(link: str) -> None:
        statuses[link] = open_link(link, {"by": "me"})[0]

    people = [threading.Thread(target=press, args=(link,)) for link in (approve, reject)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert sorted(statuses.values()) == [200, 410]
    decided = "published" if statuses[approve] == 200 else "rejected"
    assert finish(rotor, run_id)["status"] == decided


def test_a_link_that_was_altered_is_refused(rotor: SyncRotor, asked: Asked) -> None:
    run_id, approve, reject = asked
    query = parse_qs(urlsplit(approve).query)
    later = str(int(query["expires"][0]) + 1)
    altered = [
        approve.replace("/approve?", "/reject?"),
        approve.replace(f"expires={query['expires'][0]}", f"expires={later}"),
        approve.replace(run_id, "01890a5d-ac96-774b-bcce-b302099a8057"),
        approve[:-1] + ("0" if approve[-1] != "0" else "1"),
        approve.partition("?")[0],
        approve.replace("expires=", "expires=%C2%B2"),
    ]
    assert [open_link(link, {"by": "Eve"})[0] for link in altered] == [403] * len(altered)
    assert open_link(reject, {"by": "Ada"})[0] == 200
    assert finish(rotor, run_id)["status"] == "rejected"


def test_an_expired_link_is_refused_while_the_report_still_waits(
    rotor: SyncRotor, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, approve, reject = asked
    monkeypatch.setattr(settings, "APPROVAL_SECRET", SECRET)
    monkeypatch.setattr(settings, "APPROVAL_URL", approve.partition("/approvals/")[0])
    expired = make_link(run_id, "approve", int(time.time()) - 1)
    assert open_link(expired, {"by": "Late"}) == (410, "This link has expired.")
    assert open_link(reject, {"by": "Ada"})[0] == 200
    assert finish(rotor, run_id)["status"] == "rejected"


def test_the_terminal_decides_as_a_link_does(rotor: SyncRotor, slack: Slack, asked: Asked) -> None:
    run_id, approve, _ = asked
    message = slack.wait_for("May this report go out?", run_id)
    command = re.findall(r"`rotor signal complete (\S+) '(.*)'`", message)[0]
    subprocess.run(
        [sys.executable, "-m", "rotor.cli", "signal", "complete", *command],
        env={**os.environ, "ROTOR_URL": rotor.base_url},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert finish(rotor, run_id)["status"] == "published"
    assert open_link(approve)[0] == 410


def test_the_report_counts_the_runs_of_the_week(rotor: SyncRotor, asked: Asked) -> None:
    first, _, reject = asked
    assert open_link(reject, {"by": "Ada"})[0] == 200
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


def test_approvals_do_not_start_with_a_secret_that_can_be_guessed() -> None:
    ended = subprocess.run(
        [sys.executable, "approvals.py"],
        cwd=FOLDER,
        env={**os.environ, "APPROVAL_SECRET": "short"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "APPROVAL_SECRET needs at least 32 characters" in ended.stderr
