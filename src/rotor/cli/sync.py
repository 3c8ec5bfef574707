"""`rotor sync`: register what a serve app serves."""

from __future__ import annotations

import click

from rotor.cli.output import as_json, print_json

__all__ = ["sync"]


@click.command()
@click.argument("url")
@as_json
def sync(*, url: str, as_json: bool) -> None:
    """Register what the app at URL serves.

    The app is asked what that is, and the server at ROTOR_URL told. Do it after each deploy that adds or changes
    functions. Doing it twice changes nothing.

    \b
    Example:
      rotor sync https://app.example.com/api/rotor
    """
    import asyncio

    from rotor.dev.reports import describe
    from rotor.dev.serve_apps import read_manifest
    from rotor.sdk.sync_client import SyncRotor

    manifest = asyncio.run(read_manifest(url))
    with SyncRotor() as rotor:
        ids = rotor.apps.register(manifest)
    if as_json:
        print_json({"serve_url": url, "functions": ids})
        return
    click.echo(describe(f"Registered {url}", manifest.functions))
