"""`rotor send`: send an event."""

from __future__ import annotations

import sys
from typing import Any

import click

from rotor.cli.output import as_json, print_json
from rotor.errors import ConfigError, PayloadError

__all__ = ["parse_json", "read_json", "send"]


@click.command()
@click.argument("name")
@click.argument("data", metavar="JSON", default="null")
@click.option("--id", "event_id", help="The event's own id: the same id a second time starts nothing again.")
@click.option("--ts", help="When it happens, as RFC 3339. In the future: it is kept until then.")
@as_json
def send(*, name: str, data: str, event_id: str | None, ts: str | None, as_json: bool) -> None:
    """Send the event NAME with JSON as its data. `-` reads the data from standard input.

    \b
    Example:
      rotor send user.created '{"userId": "123"}'
    """
    from rotor.sdk.sync_client import SyncRotor

    value = read_json(data)
    with SyncRotor() as rotor:
        sent = rotor.send(name, value, id=event_id, ts=ts)
    if as_json:
        print_json({"id": sent})
    else:
        click.echo(f"Sent {name} as event {sent}.")


def read_json(text: str) -> Any:
    """The value of an argument that is JSON, or `-` for standard input. Raises `ConfigError`."""
    return parse_json(sys.stdin.buffer.read() if text == "-" else text)


def parse_json(text: str | bytes) -> Any:
    """The value of `text`. Raises `ConfigError` where it is not JSON."""
    from rotor.protocol.json import decode

    try:
        return decode(text)
    except PayloadError as error:
        raise ConfigError(
            f'the data is not JSON ({error}): quote it for the shell, as \'{{"key": "value"}}\''
        ) from None
