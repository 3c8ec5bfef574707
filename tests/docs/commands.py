"""Every command of `rotor`, by the words that a user types."""

from __future__ import annotations

from collections.abc import Iterator

import click

__all__ = ["all_commands"]


def all_commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """(words, command) of each command below `command` that does something by itself."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from all_commands(below, f"{path} {name}")
