"""An app tells which code it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rotor.errors import ConfigError
from rotor.sdk.functions import Function
from rotor.sdk.loading import load_functions
from rotor.sdk.versions import code_version

CODE = """
from rotor import Context, create_function

@create_function(id="f", trigger={{"event": "e"}})
async def f(ctx: Context) -> int:
    return {number}
"""


@pytest.fixture(autouse=True)
def no_version_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROTOR_VERSION", raising=False)


def functions(folder: Path, number: int) -> list[Function[Any, Any]]:
    folder.mkdir(exist_ok=True)
    file = folder / f"app_of_{folder.name}.py"
    file.write_text(CODE.format(number=number), encoding="utf-8")
    return list(load_functions(str(file)))


def test_what_is_given_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTOR_VERSION", "from around")
    assert code_version(functions(tmp_path, 1), "2026-03-01") == "2026-03-01"
    assert code_version(functions(tmp_path, 1), None) == "from around"


def test_without_a_name_the_files_of_the_functions_do(tmp_path: Path) -> None:
    one, same, other = (
        code_version(functions(tmp_path / name, number), None) for name, number in (("a", 1), ("b", 1), ("c", 2))
    )
    assert len(one) == 12
    assert one == same != other


def test_functions_without_a_file_have_no_version() -> None:
    assert code_version([], None) == ""


def test_a_name_has_a_limit() -> None:
    with pytest.raises(ConfigError, match="ID_CHARACTERS"):
        code_version([], "v" * 257)
