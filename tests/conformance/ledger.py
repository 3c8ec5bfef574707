"""What bodies leave behind outside of Rotor, so that a test can count how often each has run."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["FOLDER", "is_open", "note", "notes", "open_gate"]

FOLDER = "CONFORMANCE_LEDGER"
"""The environment variable that names the folder: one file a key."""

OPEN = ".open"
"""The ending of a file that opens the gate of a key."""


def note(key: str, word: str) -> str:
    """Write `word` down under `key`, and return it. Safe from several threads and processes at once."""
    file = os.open(Path(os.environ[FOLDER], key), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, f"{word}\n".encode())
    finally:
        os.close(file)
    return word


def is_open(key: str) -> bool:
    """Whether a body that waits at the gate of `key` may go on."""
    return Path(os.environ[FOLDER], key + OPEN).exists()


def open_gate(folder: Path, key: str) -> None:
    """Let those go on who wait at the gate of `key`."""
    (folder / (key + OPEN)).touch()


def notes(folder: Path, key: str) -> list[str]:
    """Every word under `key`, in the order in which they were written."""
    file = folder / key
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []
