"""An app is found by its file or module, and what stops it from loading is told by file, line and cause."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rotor.errors import ConfigError
from rotor.sdk.loading import load_functions

APP = """
from rotor import Context, create_function

@create_function(id="first", trigger={"event": "a"})
async def first(ctx: Context) -> None: ...

@create_function(id="second", trigger={"event": "a"})
async def second(ctx: Context) -> None: ...

again = first
chosen = [second]
number = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    known = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def ids(app: str) -> list[str]:
    return [function.id for function in load_functions(app)]


def test_every_function_object_of_a_file_is_found_once(folder: Path) -> None:
    (folder / "shop_app.py").write_text(APP)
    assert ids("shop_app.py") == ["first", "second"]
    assert ids(str(folder / "shop_app.py")) == ["first", "second"]


def test_a_module_or_one_attribute_of_it_is_found(folder: Path) -> None:
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").write_text("")
    (folder / "shop" / "flows.py").write_text(APP)
    assert ids("shop.flows") == ["first", "second"]
    assert ids("shop.flows:chosen") == ["second"]
    assert ids("shop.flows:first") == ["first"]
    assert ids("shop/flows.py:second") == ["second"]


def test_a_file_of_a_package_may_import_its_neighbours(folder: Path) -> None:
    (folder / "market").mkdir()
    (folder / "market" / "__init__.py").write_text("")
    (folder / "market" / "flows.py").write_text(APP)
    (folder / "market" / "app.py").write_text("from .flows import first\n")
    assert ids("market/app.py") == ["first"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import rotor\n\nx = 1 / 0\n", r"broken\.py, line 3: ZeroDivisionError"),
        ("def f(:\n", r"broken\.py, line 1: SyntaxError"),
        ("import no_such_package\n", r"broken\.py, line 1: ModuleNotFoundError.*no_such_package"),
        (
            'from rotor import create_function\n\ncreate_function(id="", trigger={"event": "a"})\n',
            r"broken\.py, line 3: id must be",
        ),
        ("x = 1\n", "has no functions"),
        (APP.replace("second", "first", 1).replace('"second"', '"first"'), "two functions have the id 'first'"),
    ],
)
def test_an_app_that_cannot_be_loaded_says_where_and_why(folder: Path, text: str, problem: str) -> None:
    (folder / "broken.py").write_text(text)
    with pytest.raises(ConfigError, match=problem):
        load_functions("broken.py")


@pytest.mark.parametrize(
    ("app", "problem"),
    [
        ("missing.py", "no file missing.py"),
        ("no_such_module", "ModuleNotFoundError"),
        ("not a module", "neither a file"),
        ("shop_app:nothing", "no attribute 'nothing'"),
        ("shop_app:number", "has no functions"),
        ("email.py", "has the name of the module email"),
    ],
)
def test_an_app_that_is_not_there_is_told(folder: Path, app: str, problem: str) -> None:
    (folder / "shop_app.py").write_text(APP)
    (folder / "email.py").write_text(APP)
    with pytest.raises(ConfigError, match=problem):
        load_functions(app)
