"""Every example of the documentation runs: the blocks of its pages, and those of public docstrings."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from sybil import Sybil

from rotor.cli.main import commands
from tests.docs import docstrings, shell
from tests.docs.blocks import blocks
from tests.docs.commands import all_commands
from tests.docs.server import DocsServer
from tests.docs.stage import Stage

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
]
SOURCES = sorted((ROOT / "src" / "rotor").rglob("*.py"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^(`{3,}).*?^\1$", re.MULTILINE | re.DOTALL)


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="session")
def server(dsn: str) -> Iterator[DocsServer]:
    server = DocsServer(dsn, f"docs_{os.getpid()}")
    yield server
    server.stop()


@pytest.mark.parametrize("path", PAGES, ids=shown)
def test_every_block_of_a_page_runs(path: Path, server: DocsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    document = Sybil(parsers=[blocks]).parse(path)
    stage = Stage(server, shown(path), document.namespace)
    for name, value in stage.environment.items():
        monkeypatch.setenv(name, value)
    try:
        for example in document.examples():
            example.evaluate()
    finally:
        stage.close()


@pytest.mark.parametrize("path", PAGES, ids=shown)
def test_every_link_leads_somewhere(path: Path) -> None:
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    dead = []
    for link in LINK.findall(text):
        place, _, anchor = link.partition("#")
        if place.startswith(("http://", "https://")):
            continue
        target = (path.parent / place).resolve() if place else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("folder", sorted({page.parent for page in PAGES if page.parent != ROOT}), ids=shown)
def test_every_page_is_reached_from_the_index(folder: Path) -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    missing = [page.name for page in folder.glob("*.md") if page.relative_to(DOCS).as_posix() not in index]
    assert [name for name in missing if name != "README.md"] == []


@pytest.fixture(scope="module")
def stage(server: DocsServer) -> Iterator[Stage]:
    """One workspace for all docstrings, whose examples define nothing that the next would see."""
    stage = Stage(server, "docstrings", {})
    yield stage
    stage.close()


EXAMPLES = docstrings.examples()


def test_public_docstrings_have_examples() -> None:
    assert len(EXAMPLES) > 10


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_every_example_of_a_public_docstring_runs(
    example: docstrings.Example, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stage.environment.items():
        monkeypatch.setenv(name, value)
    docstrings.run(example, stage)


@pytest.mark.parametrize("path", [path for path in SOURCES if ">>> " in path.read_text(encoding="utf-8")], ids=shown)
def test_every_session_in_a_docstring_ends_as_it_says(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted
    assert not outcome.failed


COMMAND_HELP = [
    (name, line.strip())
    for name, command in all_commands(commands, "rotor")
    for line in (command.help or "").splitlines()
    if re.match(r"(?:[A-Z_]+=\S+ )*rotor ", line.strip())
]


@pytest.mark.parametrize(("name", "line"), COMMAND_HELP, ids=[line for _, line in COMMAND_HELP])
def test_every_example_of_a_command_s_help_is_one_of_that_command(name: str, line: str) -> None:
    words = shlex.split(line.partition("   ")[0])
    while words[0] != "rotor":
        words.pop(0)
    assert " ".join(words).startswith(name)
    shell.parse(words[1:])


def test_every_command_shows_an_example() -> None:
    shown_for = {name for name, _ in COMMAND_HELP}
    assert [name for name, _ in all_commands(commands, "rotor") if name not in shown_for] == []
