"""`rotor template`: lists the templates and copies one, without ever overwriting what it was not told to."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotor.cli import exits
from tests.cli.terminal import rotor

NAMES = ["event-driven-enrichment", "multi-step-outbound", "scheduled-with-approval"]


def written(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_list_names_each_template_and_says_what_it_is() -> None:
    listed = rotor("template", "list", "--json").json["items"]
    assert [item["name"] for item in listed] == NAMES
    shown = rotor("template", "list").out
    for item in listed:
        assert item["description"].endswith(".")
        assert item["name"] in shown
        assert item["description"] in shown


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_copied_whole_and_the_next_commands_are_told(name: str, tmp_path: Path) -> None:
    target = tmp_path / "my own" / "flows"
    outcome = rotor("template", "add", name, "--into", str(target))
    assert outcome.code == 0, outcome.err
    files = written(target)
    assert {"workflows.py", "settings.py", "test_workflows.py", "conftest.py", "README.md"} <= files.keys()
    assert all("__pycache__" not in file for file in files)
    assert all(f"\n  {file}\n" in outcome.out for file in files)
    assert f"  cd '{target}'\n  rotor dev workflows.py\n" in outcome.out


def test_without_into_the_folder_has_the_name_of_the_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = rotor("template", "add", "multi-step-outbound")
    assert "  cd multi-step-outbound\n" in outcome.out
    assert (tmp_path / "multi-step-outbound" / "workflows.py").is_file()


def test_into_the_folder_that_one_is_in_there_is_no_cd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "cd " not in rotor("template", "add", "multi-step-outbound", "--into", ".").out
    assert (tmp_path / "workflows.py").is_file()


def test_a_file_that_is_there_stops_the_whole_copy(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "other.txt").write_text("mine too")
    outcome = rotor("template", "add", "multi-step-outbound", "--into", str(tmp_path))
    assert outcome.code == exits.USAGE
    assert f"nothing was copied: {tmp_path / 'README.md'} would be overwritten" in outcome.err
    assert "--force" in outcome.err
    assert written(tmp_path) == {"README.md": b"mine", "other.txt": b"mine too"}


def test_with_force_it_is_overwritten_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "other.txt").write_text("mine too")
    assert rotor("template", "add", "multi-step-outbound", "--into", str(tmp_path), "--force").code == 0
    assert written(tmp_path)["README.md"].startswith(b"# multi-step-outbound")
    assert written(tmp_path)["other.txt"] == b"mine too"


@pytest.mark.parametrize("name", ["no-such", "../cli", "", "ruff.toml", ".."])
def test_an_unknown_name_is_answered_with_those_there_are(name: str, tmp_path: Path) -> None:
    outcome = rotor("template", "add", name, "--into", str(tmp_path / "new"))
    assert outcome.code == exits.NOT_FOUND
    assert f"there is no template {name!r}; there are {', '.join(NAMES)}" in outcome.err
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = rotor("template", "add", "multi-step-outbound", "--into", str(tmp_path / "file" / "below"))
    assert outcome.code == exits.USAGE
    assert f"cannot be copied into {tmp_path / 'file' / 'below'}" in outcome.err
