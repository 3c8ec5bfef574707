"""The walk through the house names rooms that exist, and leaves no floor out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "rotor"
WALK = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+(?:\.(?:py|sql)|/))`", WALK)))
FLOORS = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))


@pytest.mark.parametrize("name", NAMED)
def test_every_file_that_is_named_exists(name: str) -> None:
    assert (SOURCE / name).exists()


@pytest.mark.parametrize("floor", FLOORS)
def test_every_floor_is_drawn(floor: str) -> None:
    drawing = re.findall(r"```text\n(.*?)```", WALK, re.DOTALL)[0]
    assert re.search(rf"\b{floor}\b", drawing)


@pytest.mark.parametrize("floor", FLOORS)
def test_the_walk_comes_through_every_floor(floor: str) -> None:
    assert any(name.startswith(f"{floor}/") for name in NAMED)


@pytest.mark.parametrize("path", sorted((ROOT / "src/rotor/services").glob("*.py")), ids=lambda path: path.stem)
def test_the_walk_meets_every_background_loop(path: Path) -> None:
    if re.search(r"^class \w+\(Loop\)", path.read_text(encoding="utf-8"), re.MULTILINE):
        assert f"services/{path.name}" in NAMED


def test_the_guide_for_contributors_names_files_that_exist() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|tests|docs)/[\w/]+(?:\.\w+)?)`", guide)
    assert named
    patterns = ("NNNN", "verb_noun")
    assert [name for name in named if not (ROOT / name).exists() and not any(one in name for one in patterns)] == []
