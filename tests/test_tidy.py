"""The house rules that a program can check."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crashes.faults import APP_DIES, SERVERS_DIE, WORKER_DIES
from tests.crashes.launch import SETTINGS, resolve

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "rotor"
QUERIES = SOURCE / "store" / "queries"

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "manager", "misc", "base"}
LEFT_OPEN = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError")


def files(folder: Path, pattern: str = "*.py") -> list[Path]:
    return sorted(path for path in folder.rglob(pattern) if "__pycache__" not in path.parts)


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


SOURCES = files(SOURCE)
FOLDERS = ("tests", "examples", "benchmarks", "website")
EVERYTHING = [*SOURCES, *(path for folder in FOLDERS for path in files(ROOT / folder)), ROOT / "task.py"]


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_rooms_are_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= FILE_LINES_MAX
    long = [
        f"{function.name}: {function.end_lineno - function.lineno + 1} lines"
        for function in functions(ast.parse(text))
        if function.end_lineno is not None and function.end_lineno - function.lineno >= FUNCTION_LINES_MAX
    ]
    assert not long


@pytest.mark.parametrize("path", EVERYTHING, ids=shown)
def test_a_file_opens_with_one_sentence_that_says_what_it_is_for(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first_paragraph = docstring.partition("\n\n")[0]
    assert first_paragraph, "no docstring"
    assert first_paragraph[-1] in ".:?", "the first paragraph is no sentence"


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_names_say_what_a_module_is(path: Path) -> None:
    words = set(path.relative_to(SOURCE).with_suffix("").parts) | set(path.stem.split("_"))
    assert not words & VAGUE_NAMES


def test_nothing_is_left_open() -> None:
    found = [
        f"{shown(path)}:{number}"
        for path in [*EVERYTHING, *files(SOURCE, "*.sql")]
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if LEFT_OPEN.search(line)
    ]
    assert not found


def test_imports_are_what_they_are_for_type_checkers_too() -> None:
    dodge = re.compile(r"^(if|from|import) .*TYPE_CHECKING", re.MULTILINE)
    exports = SOURCE / "__init__.py"  # held by tests/test_public_names.py
    dodges = [shown(path) for path in SOURCES if path != exports and dodge.search(path.read_text(encoding="utf-8"))]
    assert not dodges


@pytest.mark.parametrize("path", files(SOURCE, "*.sql"), ids=shown)
def test_sql_says_in_its_head_what_it_is_for(path: Path) -> None:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    assert re.match(r"-- \S.{10,}", first)


@pytest.mark.parametrize("path", files(QUERIES, "*.sql"), ids=shown)
def test_a_statement_is_named_by_a_verb_and_what_it_acts_on(path: Path) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", path.stem)


def test_every_statement_has_a_caller_and_every_call_a_statement() -> None:
    written = {path.stem for path in files(QUERIES, "*.sql")}
    called: set[str] = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="fetch" | "fetchrow" | "fetchval" | "execute"),
                    args=[ast.Constant(value=str(name)), *_],
                ) if re.fullmatch(r"[a-z_]+", name):
                    called.add(name)
                case ast.Constant(value=str(name)) if name in written:
                    called.add(name)
    assert called - written == set(), "no such statement"
    assert written - called == set(), "no caller"


def test_only_the_store_has_sql() -> None:
    statement = re.compile(r"^\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH \w+ AS)\b")
    found = [
        f"{shown(path)}: {node.value[:40]!r}"
        for path in SOURCES
        if "store" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and statement.match(node.value)
    ]
    assert not found


def test_every_limit_is_enforced_somewhere() -> None:
    limits = ast.parse((SOURCE / "limits.py").read_text(encoding="utf-8"))
    assigned = [node.target for node in limits.body if isinstance(node, ast.AnnAssign)]
    names = {target.id for target in assigned if isinstance(target, ast.Name)}
    elsewhere = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES if path.name != "limits.py")
    assert {name for name in names if not re.search(rf"limits\.{name}\b", elsewhere)} == set()


def test_every_folder_of_tests_is_a_package_so_that_files_may_share_a_name() -> None:
    folders = {path.parent for path in files(ROOT / "tests", "test_*.py")}
    assert {shown(folder) for folder in folders if not (folder / "__init__.py").exists()} == set()


def test_what_the_crash_tests_set_and_strike_exists() -> None:
    points = [*SERVERS_DIE[0], *SERVERS_DIE[1], *WORKER_DIES, *APP_DIES]
    for place in [*SETTINGS, *(point.split()[0] for point in points)]:
        resolve(place)
