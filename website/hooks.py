"""What is done to the pages of `docs` on their way into the site.

They are written to be read on a code host as well. So the navigation is made from the index, files of the root become
pages, what only tests see is left out, and drawings that a code host draws by script become tables: no page of the site
loads anything from elsewhere, which is checked.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
ROOT_PAGES = {f"../{name}.md": f"project/{name.lower()}.md" for name in ("ARCHITECTURE", "CONTRIBUTING", "CHANGELOG")}
"""Files of the root, as `docs` sees them, and their places in the site."""

LINK = re.compile(r"\[([^\]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
HIDDEN = re.compile(r"<!-- invisible-code-block.*?-->\n*", re.DOTALL)
INFO = re.compile(r"^```(\w+) [^\n]+$", re.MULTILINE)
"""A fence whose block is run in its own way: `json NAME`."""
STATES = re.compile(r"```mermaid\nstateDiagram-v2\n(.*?)```\n", re.DOTALL)
CHANGE = re.compile(r"^ *(\S+) --> (\S+?)(?:: (.+))?$", re.MULTILINE)
LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(?:https?:)?//|<link\b[^>]*\bhref=\"?(?:https?:)?//|@import"
)


def on_config(config: Any) -> Any:
    config.nav = navigation((ROOT / "docs" / "README.md").read_text(encoding="utf-8"))
    return config


def on_files(files: Files, config: Any) -> Files:
    for source, place in ROOT_PAGES.items():
        text = (ROOT / "docs" / source).resolve().read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    place = page.file.src_uri
    markdown = INFO.sub(r"```\1", STATES.sub(_table, HIDDEN.sub("", markdown)))
    parts = FENCED.split(markdown)  # every other one is a block of code
    parts[::2] = [LINK.sub(lambda found: _relinked(found, place), part) for part in parts[::2]]
    return "".join(parts)


def on_post_page(output: str, page: Any, config: Any) -> str:
    if found := LOADED.search(output):
        raise PluginError(f"{page.file.src_uri} would load something from elsewhere: {found[0]}")
    return output


def navigation(index: str) -> list[Any]:
    """The sections of the index with their pages, in its order. A line of many links is a section of its own."""
    found: list[Any] = [{"Rotor": "README.md"}]
    section: list[Any] = []
    for block in re.split(r"\n(?=- |\*\*)", index):
        links = [{text: ROOT_PAGES.get(target, target)} for text, target, _ in LINK.findall(block)]
        if block.startswith("**"):
            section = []
            found.append({block.strip().strip("*"): section})
        elif name := re.match(r"- (\w+): \[", block):
            section.append({name[1]: links})
        elif block.startswith("- "):
            section += links
    return found


def _relinked(link: re.Match[str], place: str) -> str:
    """A link of the page at `place`, leading to where its target is in the site."""
    text, target, anchor = link[1], link[2], link[3] or ""
    if re.match(r"[a-z]+:", target):
        return link[0]
    source = {page: name for name, page in ROOT_PAGES.items()}.get(place, place)
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    wanted = wanted.removeprefix("../docs/") if source.startswith("../") else wanted
    wanted = ROOT_PAGES.get(wanted, wanted)
    if wanted.startswith("../"):  # of the repository, and not in the site
        return text
    return f"[{text}]({posixpath.relpath(wanted, posixpath.dirname(place) or '.')}{anchor})"


def _table(drawing: re.Match[str]) -> str:
    """The changes of a state machine as a table."""
    rows = ["| from | to | when |", "|---|---|---|"]
    for before, after, why in CHANGE.findall(drawing[1]):
        begin, end = ("*begins*" if before == "[*]" else f"`{before}`"), ("*ends*" if after == "[*]" else f"`{after}`")
        rows.append(f"| {begin} | {end} | {why} |")
    return "\n".join(rows) + "\n"
