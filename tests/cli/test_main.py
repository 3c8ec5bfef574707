"""The command line as a whole: quick, with an example for every command, and no traceback for a user's mistake."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import pytest

from rotor.cli import exits, runs
from rotor.cli.main import commands
from rotor.cli.output import COLOURS, MARKS
from rotor.errors import ApiError, ConfigError, ConnectionLostError, RotorError
from rotor.protocol.messages import RunStatus, StepStatus
from tests.cli.terminal import rotor

NOBODY_LISTENS = "http://127.0.0.1:9"


def leaves(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, *path, name)
        else:
            yield " ".join([*path, name]), command


ALL = dict(leaves(commands))
STAYING = ("dev", "server", "worker", "completion")
"""Commands that go on until they are stopped, and one whose output is a script."""
TELLING = [name for name in ALL if name not in STAYING]


@pytest.mark.parametrize("name", ALL)
def test_every_command_shows_an_example_of_itself(name: str) -> None:
    assert f"rotor {name}" in (ALL[name].help or "")


@pytest.mark.parametrize("name", TELLING)
def test_what_shows_something_shows_it_as_json_too(name: str) -> None:
    assert "as_json" in {parameter.name for parameter in ALL[name].params}


def test_help_imports_nothing_heavy() -> None:
    heavy = (
        "{'aiohttp', 'asyncio', 'asyncpg', 'cel', 'msgspec', 'pydantic', 'rich', 'starlette', 'uvicorn', 'watchfiles'}"
    )
    script = f"import sys, rotor.cli.main; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_help_documents_every_exit_code() -> None:
    told = rotor("--help")
    assert told.code == 0
    for code in (exits.FAILED, exits.USAGE, exits.NOT_FOUND, exits.UNREACHABLE, exits.REFUSED, exits.INTERRUPTED):
        assert re.search(rf"^ +{code}  ", told.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ApiError(404, "Not Found"), exits.NOT_FOUND),
        (exits.NotFoundError("no key"), exits.NOT_FOUND),
        (ApiError(401, "Unauthorized"), exits.REFUSED),
        (ApiError(422, "Unprocessable"), exits.USAGE),
        (ConfigError("no"), exits.USAGE),
        (ConnectionLostError("no"), exits.UNREACHABLE),
        (ApiError(503, "Unavailable"), exits.UNREACHABLE),
        (ApiError(409, "Conflict"), exits.FAILED),
        (RotorError("no"), exits.FAILED),
    ],
)
def test_an_error_ends_with_the_code_that_help_names(error: RotorError, code: int) -> None:
    assert exits.exit_code(error) == code


def test_every_status_can_be_asked_for_and_has_a_mark() -> None:
    assert get_args(RunStatus) == runs.STATUSES
    assert set(MARKS) == set(COLOURS) == {*get_args(RunStatus), *get_args(StepStatus)}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["runs", "list"], exits.UNREACHABLE, "is the server running"),
        (["sync", NOBODY_LISTENS], exits.UNREACHABLE, "is it running?"),
        (["sync", "app"], exits.USAGE, "is not a URL"),
        (["sync", "ftp://app.example.com"], exits.USAGE, "is not a URL"),
        (["send", "user.created", "1", "--ts", "yesterday"], exits.USAGE, "is not RFC 3339"),
        (["send", "user.created", "{id: 1}"], exits.USAGE, "the data is not JSON"),
        (["runs", "list", "--status", "gone"], exits.USAGE, "'gone' is not one of 'queued'"),
        (["migrate"], exits.USAGE, "DATABASE_URL is not set, and no `rotor dev` runs in this folder"),
        (["worker", "no_such_file.py"], exits.USAGE, "there is no file no_such_file.py"),
        (["fly"], exits.USAGE, "No such command 'fly'"),
    ],
)
def test_a_mistake_is_one_sentence_and_an_exit_code(arguments: list[str], code: int, said: str) -> None:
    outcome = rotor(*arguments, ROTOR_URL=NOBODY_LISTENS)
    assert outcome.code == code
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""


def completed(shell: str, words: list[str]) -> list[str]:
    """What a real shell offers for the last of `words` once it has read the script."""
    read = {
        "bash": 'eval "$(rotor completion bash)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
        '_rotor_completion rotor; printf "%s\n" "${COMPREPLY[@]}"',
        "fish": 'rotor completion fish | source; complete --do-complete "$argv"',
    }[shell]
    command = [shell, "-c", read, shell, *words] if shell == "bash" else [shell, "-c", read, " ".join(words)]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    told = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True).stdout
    return [line.split("\t")[0] for line in told.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_a_shell_completes_commands_options_and_templates(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert completed(shell, ["rotor", "runs", "wa"]) == ["watch"]
    assert completed(shell, ["rotor", "template", "add", "multi"]) == ["multi-step-outbound"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_each_shell(shell: str) -> None:
    script = rotor("completion", shell)
    assert script.code == 0
    assert f"_ROTOR_COMPLETE={shell}_complete" in script.out


@pytest.mark.parametrize(
    "address", ["postgresql://user:sesame@127.0.0.1:9/rotor", "postgresql://user:sesame@127.0.0.1:nine/rotor", "sesame"]
)
def test_a_wrong_database_address_is_told_without_its_password(address: str) -> None:
    outcome = rotor("migrate", DATABASE_URL=address)
    assert outcome.code in (exits.USAGE, exits.UNREACHABLE)
    assert "DATABASE_URL" in outcome.err
    assert "sesame" not in outcome.err
    assert "Traceback" not in outcome.err
