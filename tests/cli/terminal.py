"""Runs `rotor` as a user types it: in this process, which is quick, with its own input, output and environment."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from rotor.cli.main import main


@dataclass(frozen=True)
class Outcome:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def rotor(*arguments: str, stdin: str = "", **environment: str) -> Outcome:
    """Run a command; `environment` replaces the variables that Rotor reads.

    On a thread of its own, for a command may start an event loop and the test may have one.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_run, arguments, stdin, environment).result()


def _run(arguments: tuple[str, ...], stdin: str, environment: dict[str, str]) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        stack.enter_context(patch("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()))))
        stack.enter_context(_environment(environment))
        try:
            main(list(arguments))
        except SystemExit as ended:
            code = ended.code
    assert isinstance(code, int)
    return Outcome(code, out.getvalue(), err.getvalue())


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    read = ("ROTOR_", "DATABASE_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(read)}
    with patch.dict(os.environ, {**kept, **values}, clear=True):
        yield
