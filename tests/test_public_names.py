"""What `rotor` exports: imported when it is asked for, and the same for a program as for a type checker."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rotor

SOURCE = Path(rotor.__file__).read_text(encoding="utf-8")


def promised() -> dict[str, str]:
    """Each name that the file imports for type checkers, and where from."""
    (block,) = (node for node in ast.parse(SOURCE).body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def test_a_type_checker_is_told_what_a_program_gets() -> None:
    assert promised() == rotor._PLACES
    assert set(promised()) == set(rotor.__all__)


@pytest.mark.parametrize("name", rotor.__all__)
def test_every_name_is_made_where_the_table_says(name: str) -> None:
    assert getattr(rotor, name).__module__.startswith(rotor._PLACES[name])
    assert name in dir(rotor)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'rotor' has no attribute 'no_such_name'"):
        rotor.no_such_name  # type: ignore[attr-defined]  # noqa: B018


def test_importing_rotor_imports_next_to_nothing() -> None:
    slow = "{'aiohttp', 'asyncio', 'click', 'msgspec', 'rotor.sdk', 'typing_extensions'}"
    script = f"import sys, rotor; rotor.errors.RotorError; print(sorted({slow} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
