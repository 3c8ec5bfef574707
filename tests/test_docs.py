"""Every example of the documentation runs: the blocks of its pages, and those of public docstrings."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sybil import Sybil

from tests.docs.blocks import blocks
from tests.docs.server import DocsServer
from tests.docs.stage import Stage

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
]
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
