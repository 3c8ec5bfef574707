"""`rotor migrate`: bring the database's schema up to date."""

from __future__ import annotations

import click

from rotor.cli.database import database_at_hand, database_schema, translated
from rotor.cli.output import as_json, print_json, progress

__all__ = ["migrate"]


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what is missing, change nothing.")
@as_json
def migrate(*, dry_run: bool, as_json: bool) -> None:
    """Apply the migrations that the database lacks.

    Each is applied once, in its own transaction, also where several of these run. Works on DATABASE_URL, or on the
    database of a `rotor dev` that runs in this folder.

    \b
    Example:
      DATABASE_URL=postgresql://rotor@db/rotor rotor migrate
    """
    from rotor.store import migrate as store

    dsn, schema = database_at_hand(), database_schema()
    act = store.pending if dry_run else store.migrate
    with progress("Looking for migrations" if dry_run else "Migrating"):
        names = translated(dsn, lambda: act(dsn, schema=schema))
    if as_json:
        print_json({"pending" if dry_run else "applied": names})
        return
    for name in names:
        click.echo(("missing  " if dry_run else "applied  ") + name)
    if not names:
        click.echo("The schema is up to date.")
