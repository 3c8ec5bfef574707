"""Start real programs, look whether a process lives, and wait for that without a fixed sleep."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.cli.terminal import rotor

NOBODY = 65534

Whom: TypeAlias = Callable[[Sequence[str]], list[str]]
"""Makes a command run as someone."""


def lives(process_id: int) -> bool:
    """Whether the process exists and is not a zombie."""
    return parent_of(process_id) is not None


def parent_of(process_id: int) -> int | None:
    """None: the process does not exist, or is a zombie."""
    try:
        facts = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent = facts.rpartition(")")[2].split()[:2]
    return int(parent) if state != "Z" else None


def offspring(process_id: int) -> list[int]:
    """Every living process below `process_id`."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := parent_of(int(entry.name))) is not None:
            parents.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    pending = [process_id]
    while pending:
        children = parents.get(pending.pop(), [])
        found += children
        pending += children
    return found


def eventually(condition: Callable[[], bool], *, within_seconds: float = 60) -> bool:
    deadline = time.monotonic() + within_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def as_ordinary_user(command: Sequence[str]) -> list[str]:
    """The command run by an account that is not root: ours, or `nobody` who may read (an interpreter under a private
    folder, say) but nothing else."""
    if os.geteuid() != 0:
        return list(command)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root without setpriv cannot try an ordinary user")
    account = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return [setpriv, *account, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", *command]


def python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-u", "-c", script, *arguments]


def spawn(command: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def own_ports() -> Iterator[int]:
    """Ports below those that the system gives to whoever connects or asks for any.

    Who listens at the first of a thousand has the others: no two processes that run tests give the same one.
    """
    for first in random.SystemRandom().sample(range(20_000, 32_000, 1_000), 12):
        with suppress(OSError), socket.create_server(("127.0.0.1", first)):
            yield from range(first + 1, first + 1_000)


PORTS = own_ports()


def free_port() -> int:
    """One at which nobody listens, and that was not given before."""
    for port in PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("there is no port left")


class RotorDev:
    """`rotor dev` as a user starts it."""

    def __init__(self, app: Path | None, data: Path, *options: str, whom: Whom = list, port: int | None = None) -> None:
        self.data = data
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        what = [app.name] if app else []
        command = [sys.executable, "-m", "rotor.cli", "dev", *what, "--port", str(self.port), "--data", str(data)]
        # Without the variable that would lead it to another database.
        environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        environment |= {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(
            whom([*command, *options]),
            cwd=(app or data).parent,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.output = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, text: str, *, after: int = 0) -> int:
        """Where in the output `text` ends, once it is there after position `after`."""
        assert eventually(lambda: text in self.output[after:] or self.process.poll() is not None, within_seconds=60)
        assert text in self.output[after:], self.output
        return self.output.index(text, after) + len(text)

    def rotor(self, *arguments: str) -> Any:
        """The JSON that a client command prints."""
        outcome = rotor(*arguments, "--json", ROTOR_URL=self.url)
        assert outcome.code == 0, outcome.err
        return outcome.json

    def stop(self, number: int = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Its exit code, once it and its output have ended."""
        code = self.process.wait(60)
        self._reader.join()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
