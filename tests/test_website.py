"""What `website/hooks.py` does to the pages on their way into the site."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mkdocs.exceptions import PluginError

ROOT = Path(__file__).parent.parent


def load_hooks() -> Any:
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "website" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hooks = load_hooks()


def page(place: str) -> Any:
    return SimpleNamespace(file=SimpleNamespace(src_uri=place))


def shown(markdown: str, place: str = "how-to/cron.md") -> str:
    text: str = hooks.on_page_markdown(markdown, page(place), None, None)
    return text


@pytest.mark.parametrize(
    "loads",
    [
        '<script src="https://cdn.example.com/x.js"></script>',
        "<script async src=//cdn.example.com/x.js></script>",
        '<link rel="stylesheet" href="https://fonts.example.com/css">',
        '<img alt="" src="http://example.com/pixel.png">',
        "<style>@import url(https://example.com/x.css)</style>",
    ],
)
def test_a_page_that_would_load_something_from_elsewhere_is_refused(loads: str) -> None:
    with pytest.raises(PluginError, match="would load something from elsewhere"):
        hooks.on_post_page(f"<html>{loads}</html>", page("index.md"), None)


def test_a_page_may_link_to_elsewhere_and_load_its_own() -> None:
    html = '<a href="https://cel.dev">CEL</a><script src="../assets/x.js"></script><link href="assets/x.css">'
    assert hooks.on_post_page(html, page("index.md"), None) == html


@pytest.mark.parametrize(
    ("place", "link", "leads_to"),
    [
        ("how-to/cron.md", "(fan-out.md#a-few)", "(fan-out.md#a-few)"),
        ("operate/upgrade.md", "(../../CHANGELOG.md)", "(../project/changelog.md)"),
        ("README.md", "(../ARCHITECTURE.md)", "(project/architecture.md)"),
        ("project/contributing.md", "(ARCHITECTURE.md)", "(architecture.md)"),
        ("project/contributing.md", "(docs/glossary.md)", "(../glossary.md)"),
        ("how-to/cron.md", "(https://cel.dev)", "(https://cel.dev)"),
    ],
)
def test_a_link_leads_to_where_its_target_is_in_the_site(place: str, link: str, leads_to: str) -> None:
    assert shown(f"[it]{link}", place) == f"[it]{leads_to}"


def test_a_link_to_what_is_not_in_the_site_is_text() -> None:
    assert shown("[vectors](../../conformance)", "reference/protocol.md") == "vectors"


def test_code_that_looks_like_a_link_is_left_alone() -> None:
    code = "```python\nhandlers[name](../../conformance)\n```\n"
    assert shown(code, "reference/protocol.md") == code


def test_what_only_tests_see_is_left_out_and_every_block_has_a_language() -> None:
    hidden = "<!-- invisible-code-block: python\nassert True\n-->\n"
    assert shown(f"one\n{hidden}two\n```json worker frame\n[]\n```\n") == "one\ntwo\n```json\n[]\n```\n"


def test_a_state_machine_becomes_a_table() -> None:
    drawing = "```mermaid\nstateDiagram-v2\n    [*] --> queued\n    queued --> running: it is claimed\n```\n"
    assert shown(drawing).splitlines()[2:] == ["| *begins* | `queued` |  |", "| `queued` | `running` | it is claimed |"]


def test_the_navigation_is_the_index_with_every_page_of_it() -> None:
    lines = [
        "**Start**",
        "- [Quick](start/q.md): soon",
        "**More**",
        "- [A](../ARCHITECTURE.md), [G](g.md)",
        "- Decisions: [1](d/1.md),",
        "  [2](d/2.md)",
    ]
    assert hooks.navigation("\n".join(lines)) == [
        {"Rotor": "README.md"},
        {"Start": [{"Quick": "start/q.md"}]},
        {"More": [{"A": "project/architecture.md"}, {"G": "g.md"}, {"Decisions": [{"1": "d/1.md"}, {"2": "d/2.md"}]}]},
    ]
