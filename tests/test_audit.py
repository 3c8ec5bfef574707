"""The audit of the dependencies fails on what is known against them, and never passes where nobody could be asked."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import task

KNOWN = (
    b'{"vulns": [{"id": "GHSA-xxxx", "aliases": ["CVE-2026-1"], "summary": "bad", "published": "2026-01-01T00:00:00Z",'
    b' "affected": [{"package": {"ecosystem": "PyPI", "name": "click"},'
    b' "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}]}]}]}'
)


class Advisories(BaseHTTPRequestHandler):
    """Knows something against click, and nothing else."""

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["content-length"]))
        answer = KNOWN if b'"click"' in asked else b"{}"
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Advisories)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text(f"click==8.1.0 --hash=sha256:{'0' * 64}\nrich==13.9.4 --hash=sha256:{'1' * 64}\n")
    return path


def test_a_finding_fails_unless_it_is_accepted_and_says_what_to_take(
    service: str, lock: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with task.Audit(lock, "--osv-url", service) as audit:
        assert audit.tell() == "FAILED"
    assert capsys.readouterr().out == "click 8.1.0: CVE-2026-1, mended in 99.1\n"
    known = {"id": "CVE-2026-1", "aliases": ["GHSA-xxxx"], "fix_versions": ["99.1"]}
    click = {"name": "click", "version": "8.1.0", "vulns": [known]}
    assert len(task.findings_of(click)) == 1
    monkeypatch.setitem(task.ACCEPTED, "GHSA-xxxx", "a test")
    assert task.findings_of(click) == []
    assert task.findings_of({"name": "click", "skip_reason": "unknown"}) == ["click was not audited: unknown"]


def test_where_nobody_could_be_asked_it_did_not_pass_and_says_so_loudly(
    lock: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loose = tmp_path / "loose.lock"
    loose.write_text("click>=8\n")
    with task.Audit(lock, "--osv-url", "http://127.0.0.1:9/") as unreached, task.Audit(loose) as unreadable:
        assert unreached.tell() == "NOT DONE"
        assert "NOT AUDITED" in capsys.readouterr().out
        assert unreadable.tell() == "FAILED"


def test_it_ends_with_the_checks_that_are_interrupted(lock: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        suppress(KeyboardInterrupt),
        task.Audit(lock, "--osv-url", f"http://127.0.0.1:{silent.getsockname()[1]}") as audit,
    ):
        raise KeyboardInterrupt
    assert audit.process.returncode == -signal.SIGKILL


def test_what_is_accepted_is_argued() -> None:
    assert all(reason for reason in task.ACCEPTED.values())
