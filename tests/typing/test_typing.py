"""mypy and pyright, both strict, accept what is right and refuse what is wrong, line by line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
PROJECT = FOLDER.parent.parent


def marked(file: str) -> set[int]:
    lines = (FOLDER / file).read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}


def refused_by_mypy(file: str) -> set[int]:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(FOLDER / file)]
    output = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False).stdout
    found = re.findall(rf"^.*{re.escape(file)}:(\d+): error: (.*)$", output, re.MULTILINE)
    assert len(found) == output.count(": error: "), output
    return {int(number) for number, _ in found}


def refused_by_pyright(file: str) -> set[int]:
    command = [sys.executable, "-m", "pyright", "--outputjson", str(FOLDER / file)]
    output = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False).stdout
    diagnostics = json.loads(output)["generalDiagnostics"]
    return {one["range"]["start"]["line"] + 1 for one in diagnostics if one["severity"] == "error"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("refused", [refused_by_mypy, refused_by_pyright])
@pytest.mark.parametrize("file", ["accepted.py", "refused.py"])
def test_a_type_checker_refuses_the_marked_lines_and_no_other(file: str, refused: Callable[[str], set[int]]) -> None:
    assert refused(file) == marked(file)


def test_there_is_something_to_refuse() -> None:
    assert len(marked("refused.py")) > 20
    assert marked("accepted.py") == set()
