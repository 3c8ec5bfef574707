"""The page of guarantees names tests that exist, and each of its promises names one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "concepts" / "guarantees.md").read_text(encoding="utf-8")


def names_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)}


def test_each_test_that_holds_a_promise_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)(?:\[(\w+)\])?`", PAGE)
    assert len(named) > 20
    missing = [f"{file}::{name}[{case}]" for file, name, case in named if {name, case or name} - names_in(file)]
    assert missing == []


def test_each_promise_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "held by" not in line]
    assert rows
    assert [row for row in rows if "::test_" not in row] == []
