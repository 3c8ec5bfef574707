"""`rotor migrate`: bring the database's schema up to date."""

from __future__ import annotations

import click

from rotor.cli.database import database_schema, database_url, translated
from rotor.cli.output import as_json, print_json

__all__ = ["migrate"]


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what is missing, change nothing.")
@as_json
def migrate(*, dry_run: bool, as_json: bool) -> None:
    """Apply the migrations that the database lacks, each in its own transaction.

    Several may run at once; each migration is applied once.

    \b
    Example:
      DATABASE_URL=postgresql://rotor@db/rotor rotor migrate
    """
    from rotor.store import migrate as store

    dsn, schema = database_url(), database_schema()
    act = store.pending if dry_run else store.migrate
    names = translated(lambda: act(dsn, schema=schema))
    if as_json:
        print_json({"pending" if dry_run else "applied": names})
        return
    for name in names:
        click.echo(("missing  " if dry_run else "applied  ") + name)
    if not names:
        click.echo("The schema is up to date.")
