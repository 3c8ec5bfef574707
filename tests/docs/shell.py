"""Runs the commands of the documentation, or holds them against what they call.

- `curl` is sent to the server of the examples, on a route of its OpenAPI description, and must be answered below 400;
- `rotor` commands that end by themselves are run, and must end with 0; the others are parsed by click;
- `pip install` must name an extra that there is, `python3 task.py` a job that there is;
- the programs of `FOREIGN` are not ours to test. Any other fails.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import chdir, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
from click.testing import CliRunner

from rotor.api.app import DECLARED
from rotor.cli.main import commands

__all__ = ["parse", "run"]

ROOT: Final = Path(__file__).parent.parent.parent
FOREIGN: Final = frozenset(
    {"git", "cd", "source", "pg_dump", "pg_restore", "uvicorn", "flask", "createdb", "psql"}
    | {"podman", "kubectl", "systemctl", "install", "cp", "mkdir", "pip-audit", "uv"}
)
STAY: Final = frozenset({"dev", "server", "worker", "sync"})
"""Commands that go on until they are stopped, or call an app that is not there."""
COPY: Final = frozenset({"template"})
"""Commands that write into the folder they are called in."""
_HOST: Final = re.compile(r"https?://(127\.0\.0\.1:8484|rotor\.example\.com)")
_VARIABLE: Final = re.compile(r"\$\{?([A-Z][A-Z0-9_]*)\}?")


def run(text: str, names: dict[str, Any]) -> None:
    """Run every command of a block; its variables are the page's names and the environment."""
    for command in _commands(text):
        words = [_VARIABLE.sub(lambda found: _value(found[1], names), word) for word in command]
        while words and re.match(r"[A-Z_]+=", words[0]):
            words.pop(0)
        _run(words, names)


def _run(words: list[str], names: dict[str, Any]) -> None:
    match words:
        case [] | ["export", _]:
            pass
        case ["curl", *arguments]:
            _curl(arguments, names)
        case ["rotor", *arguments]:
            _rotor(arguments)
        case ["pip", "install", requirement]:
            _check_requirement(requirement)
        case ["python3", "task.py", job]:
            subprocess.run([sys.executable, ROOT / "task.py", job, "--help"], check=True, capture_output=True)
        case ["python3", "-m", "venv", _]:
            pass
        case [program, *_]:
            assert program in FOREIGN, f"no way is known to run {program}"


def _commands(text: str) -> Iterator[list[str]]:
    """The commands, each as its words; one goes on over lines that end in a backslash or within quotes."""
    pending = ""
    for line in text.splitlines():
        pending += line
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        try:
            words = shlex.split(pending, comments=True)
        except ValueError:
            pending += "\n"
            continue
        pending = ""
        if words:
            yield words
    assert not pending, f"this command has no end: {pending}"


def _value(name: str, names: dict[str, Any]) -> str:
    value = names.get(name, os.environ.get(name))
    assert value is not None, f"nothing before this says what ${name} is"
    return str(value)


def _curl(arguments: list[str], names: dict[str, Any]) -> None:
    method, url, data = "", "", None
    headers = {"Authorization": f"Bearer {os.environ['ROTOR_API_KEY']}"}
    words = iter(arguments)
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                data = next(words)
                json.loads(data)
            case "-N" | "-s" | "-i":
                pass
            case _:
                assert word.startswith("http"), f"curl option {word} is not known here"
                url = word
    method = method or ("GET" if data is None else "POST")
    path = url.removeprefix(_place(url))
    assert _is_routed(method, path.partition("?")[0]), f"the API has no {method} {path}"
    body = None if data is None else data.encode()
    request = urllib.request.Request(os.environ["ROTOR_URL"] + path, data=body, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        names["ANSWER"] = answer.read().decode()


def _place(url: str) -> str:
    found = _HOST.match(url)
    place = found[0] if found else os.environ["ROTOR_URL"]
    assert url.startswith(place), f"{url} is not the server's"
    return place


def _is_routed(method: str, path: str) -> bool:
    described = (*((one.method, one.pattern) for one in DECLARED), ("GET", re.compile(r"/openapi\.json")))
    return any(one == method and pattern.fullmatch(path) for one, pattern in described)


def _rotor(arguments: list[str]) -> None:
    if arguments[0] in STAY:
        parse(arguments)
        return
    # What a command copies for its user goes into an empty folder, which is thrown away.
    with TemporaryDirectory() as folder, chdir(folder) if arguments[0] in COPY else nullcontext():
        ended = CliRunner().invoke(commands, arguments)
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    assert ended.exit_code == 0, f"rotor {' '.join(arguments)} ended with {ended.exit_code}: {ended.output}"


def parse(arguments: list[str]) -> None:
    """Have click read the arguments of `rotor`, and run nothing. Raises `click.ClickException`."""
    command: click.Command = commands
    name = "rotor"
    while isinstance(command, click.Group):
        name, *arguments = arguments
        command = command.commands[name]
    command.make_context(name, list(arguments))


def _check_requirement(requirement: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = re.fullmatch(r"([a-z]+)(?:\[([a-z,]+)\])?", requirement)
    assert found is not None, requirement
    assert found[1] == project["name"]
    assert set(filter(None, (found[2] or "").split(","))) <= project["optional-dependencies"].keys()
