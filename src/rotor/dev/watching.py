"""Tells when an app's Python files change.

Only folders that hold Python files are watched, each by itself: a recursive watch would also wake at every write of the
embedded Postgres, whose data lies in the same folder.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from watchfiles import PythonFilter, awatch

__all__ = ["app_folder", "changes", "source_folders"]

SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})
FOLDERS_MAX = 1_000
QUIET_MS = 50
"""How long no further file may change before a change is told: an editor or `git` writes several."""


def app_folder(app: str) -> Path:
    """The folder whose files `app` is made of: a file's own, or for a module the one it is imported from."""
    name = app.rpartition(":")[0] if ":" in Path(app).name else app
    return Path(name).absolute().parent if name.endswith(".py") else Path.cwd()


def source_folders(folder: Path) -> set[Path]:
    """`folder` and the folders below it that hold Python files, hidden ones and installed packages left out."""
    found = {folder}
    for place, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if name not in SKIPPED and not name.startswith("."))
        if any(name.endswith(".py") for name in files):
            found.add(Path(place))
        if len(found) >= FOLDERS_MAX:
            break
    return found


async def changes(folder: Path) -> AsyncIterator[set[str]]:
    """The names of the Python files that changed, each time some did, without end."""
    while True:
        watched = source_folders(folder)
        async for batch in awatch(*watched, watch_filter=PythonFilter(), step=QUIET_MS, recursive=False):
            yield {_shown(path, folder) for _, path in batch}
            if source_folders(folder) != watched:
                break


def _shown(path: str, folder: Path) -> str:
    with suppress(ValueError):
        return str(Path(path).relative_to(folder))
    return path
