"""Sets the project up and runs its main jobs, with nothing but Python 3.11 or newer on the machine.

    python3 task.py demo      one workflow on a real server, its steps shown live
    python3 task.py test      every check that continuous integration runs
    python3 task.py audit     what is publicly known against the locked dependencies

Each makes `.venv` from `requirements.lock` first, with uv where it is installed and with pip otherwise; a second time
that is skipped unless the lock or the Python has changed.
"""

# ruff: noqa: S310, S603, T201, UP036

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
STAMP = VENV / "set-up-for"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
TEMPLATES = ("event-driven-enrichment", "multi-step-outbound", "scheduled-with-approval")
"""Each is checked by itself: they have modules of the same names."""
PARTS = (
    "tests/api tests/conformance tests/dashboard",
    "tests/crashes/test_campaign.py",
    "tests/crashes --ignore=tests/crashes/test_campaign.py",
)
"""The tests that take the longest. Each part has a Postgres of its own, as has the rest of the tests."""
CHECKS = (
    "ruff check .",
    "ruff format --check .",
    f"pytest {PARTS[0]}",
    f"pytest {' '.join(f'--ignore={folder}' for folder in (*PARTS[0].split(), 'tests/crashes'))}",
    *(f"pytest {part}" for part in PARTS[1:]),
    "mypy",
    *(f"mypy --config-file= --strict src/rotor/templates/{name}" for name in TEMPLATES),
    "pyright tests/typing/accepted.py",
    "lint-imports --no-cache",
    "bandit -q -c pyproject.toml -r src/rotor",
    "mkdocs build --strict --quiet --config-file website/mkdocs.yml",
)
AT_ONCE = 2
"""Most of what tests do is to wait for processes, so that two parts of them take hardly longer than one."""
AUDIT = "pip-audit"
ACCEPTED: dict[str, str] = {}
"""Findings of the audit that do not concern Rotor: their ids, each with the reason."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
START_SECONDS = 60
RUN_SECONDS = 60


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    jobs = parser.add_subparsers(dest="job", required=True)
    demo_options = jobs.add_parser("demo", help="run one workflow on a real server and show its steps live")
    demo_options.add_argument("--keep", action="store_true", help="leave the server running until Ctrl-C")
    jobs.add_parser("test", help="run every check")
    jobs.add_parser("audit", help="ask what is publicly known against the locked dependencies")
    options = parser.parse_args()
    if sys.version_info < (3, 11):
        print(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]} ({sys.executable}).")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is stopped as by Ctrl-C
    try:
        set_up()
        if options.job == "demo":
            return demo(keep=options.keep)
        if options.job == "audit":
            with Audit(LOCK) as audit:
                return 0 if audit.tell() == "ok" else 1
        set_up_browser()
        return test()
    except subprocess.CalledProcessError as error:
        print(f"\nThis failed with exit code {error.returncode}: {' '.join(map(str, error.cmd))}")
        return 1
    except KeyboardInterrupt:
        return 130


# --- setting up


def set_up() -> None:
    """Make `.venv` with what the lock names, unless it is there already."""
    wanted = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    if STAMP.exists() and STAMP.read_text(encoding="ascii") == wanted:
        return
    print("Setting up .venv from requirements.lock; this takes a minute the first time.", flush=True)
    uv = shutil.which("uv")
    if uv:
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV)], check=True)
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(PYTHON)]  # as pip does
    else:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
        install = [str(PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*install, "--require-hashes", "-r", str(LOCK)], check=True)
    subprocess.run([*install, "--no-deps", "-e", str(ROOT)], check=True)
    STAMP.write_text(wanted, encoding="ascii")


def set_up_browser() -> None:
    """Install Chromium for the test of the dashboard where packages may be installed; else it says what to do."""
    if any(shutil.which(name) for name in BROWSERS) or shutil.which("apt-get") is None or os.geteuid() != 0:
        return
    print("Installing Chromium for the test of the dashboard.", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-qq", "-y", "--no-install-recommends", "chromium"],
    ):
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


# --- the checks


def test() -> int:
    """Run every check, two at a time and also after one failed, and print how each went."""
    results = []
    began = time.monotonic()
    pool = ThreadPoolExecutor(AT_ONCE)
    with Audit(LOCK) as audit:
        try:
            for done in as_completed([pool.submit(run, check) for check in CHECKS]):
                check, passed, seconds, output = done.result()
                print(f"\n=== {check}\n{output}", end="", flush=True)
                results.append((check, "ok" if passed else "FAILED", seconds))
        finally:
            pool.shutdown(cancel_futures=True)
        print(f"\n=== {AUDIT}", flush=True)
        audited = time.monotonic()
        results.append((AUDIT, audit.tell(), time.monotonic() - audited))
    print("\n=== summary")
    for check, outcome, seconds in results:
        print(f"{outcome:<8}  {seconds:6.1f} s  {check}")
    print(f"{'':<8}  {time.monotonic() - began:6.1f} s  together")
    return 1 if any(outcome == "FAILED" for _, outcome, _ in results) else 0


def run(check: str) -> tuple[str, bool, float, str]:
    """A check, whether it passed, how many seconds it took, and what it printed."""
    began = time.monotonic()
    program, *arguments = check.split()
    command = [str(BIN / program), *arguments]
    ended = subprocess.run(
        command, cwd=ROOT, check=False, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return check, ended.returncode == 0, time.monotonic() - began, ended.stdout


class Audit:
    """What is publicly known against the dependencies of a lock file, asked of OSV while other checks run.

    At the end of its `with` nobody is asked any more, whatever ended it.
    """

    def __init__(self, lock: Path, *options: str) -> None:
        command = [str(BIN / AUDIT), "--requirement", str(lock), "--require-hashes", "--disable-pip", *options]
        command += ["--vulnerability-service", "osv", "--format", "json", "--progress-spinner", "off"]
        self.process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def __enter__(self) -> Audit:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def tell(self) -> str:
        """Wait for it, print what was found, and return `ok`, `FAILED`, or `NOT DONE` where nobody could be asked."""
        out, err = self.process.communicate()
        if not out:
            last = err.strip().rpartition("\n")[2]
            if any(words in err for words in ("exceptions.ConnectionError", "Could not connect", "HTTP error")):
                print(f"NOT AUDITED: the advisory service was not reached, so nobody was asked.\n{last}")
                return "NOT DONE"
            print(last)
            return "FAILED"
        findings = [line for dependency in json.loads(out)["dependencies"] for line in findings_of(dependency)]
        print("\n".join(findings) or "Nothing is known against the locked dependencies.")
        return "FAILED" if findings else "ok"


def findings_of(dependency: dict[str, Any]) -> list[str]:
    """A line for each thing that is known against a dependency and not accepted, or why nothing is known of it."""
    name = dependency["name"]
    if "skip_reason" in dependency:
        return [f"{name} was not audited: {dependency['skip_reason']}"]
    return [
        f"{name} {dependency['version']}: {found['id']}, mended in {' or '.join(found['fix_versions']) or 'none yet'}"
        for found in dependency["vulns"]
        if not {found["id"], *found["aliases"]} & ACCEPTED.keys()
    ]


# --- the demo


class Server:
    """`rotor dev` on the demo's workflow, its output shown with a bar in front."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {**os.environ, "ROTOR_URL": self.url, "PYTHONUNBUFFERED": "1"}
        self.ready = threading.Event()
        self.stopping = False
        command = rotor("dev", "examples/demo.py", "--port", str(self.port), "--data", str(folder), "--no-reload")
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        threading.Thread(target=self._show_output, daemon=True).start()

    def wait_until_ready(self) -> bool:
        return self.ready.wait(START_SECONDS) and self.process.poll() is None

    def stop(self) -> None:
        self.stopping = True
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def rotor(self, *arguments: str) -> Any:
        """The JSON that a command of `rotor` prints."""
        command = rotor(*arguments, "--json")
        answer = subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True)
        return json.loads(answer.stdout)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def _show_output(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            print(f"  | {line}", end="", flush=True)
            if line.startswith("Ready"):
                self.ready.set()
        self.ready.set()


def demo(*, keep: bool) -> int:
    """Start a server, send an event, show the run it starts until its result, and stop."""
    with tempfile.TemporaryDirectory(prefix="rotor-demo-") as folder:
        print("$ rotor dev examples/demo.py", flush=True)
        server = Server(Path(folder))
        try:
            return show(server, keep=keep)
        finally:
            server.stop()


def show(server: Server, *, keep: bool) -> int:
    if not server.wait_until_ready():
        print("The server did not start; its output above says why.")
        return 1
    print("""\n$ rotor send trip.requested '{"to": "Lisbon", "guests": 2}'""")
    event = server.rotor("send", "trip.requested", '{"to": "Lisbon", "guests": 2}')["id"]
    run = eventually(lambda: [run["id"] for run in server.get(f"/v1/events/{event}")["runs"]])[0]
    print(f"\n$ rotor runs watch {run}    (it asks for an approval, which this demo gives)", flush=True)
    approver = threading.Thread(target=approve, args=(server, run), daemon=True)
    approver.start()
    watched = subprocess.run(rotor("runs", "watch", run), env=server.environment, timeout=RUN_SECONDS, check=False)
    ended = server.get(f"/v1/runs/{run}")
    print(f"\nThe run {ended['status']}: {json.dumps(ended['output'])}")
    print(f"Its page: {server.url}/dashboard/runs/{run}\nIts JSON: {server.url}/v1/runs/{run}", flush=True)
    if keep:
        print("The server goes on until Ctrl-C.", flush=True)
        server.process.wait()
    return watched.returncode


def approve(server: Server, run: str) -> None:
    """Complete the signal once the run waits for it, as a person would."""
    try:
        eventually(lambda: [1 for step in server.get(f"/v1/runs/{run}")["steps"] if step["id"] == "approval"])
        server.rotor("signal", "complete", f"trip-{run}", '{"approved": true}')
    except (OSError, subprocess.CalledProcessError):
        # Ctrl-C has stopped the server under us; anything else is worth a traceback.
        if not server.stopping:
            raise


def eventually(look: Any) -> Any:
    """What `look` gives once that is something."""
    deadline = time.monotonic() + RUN_SECONDS
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError("the run did not come as far as it should")
        time.sleep(0.1)
    return found


def rotor(*arguments: str) -> list[str]:
    return [str(PYTHON), "-m", "rotor.cli", *arguments]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
