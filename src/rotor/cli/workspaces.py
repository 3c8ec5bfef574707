"""`rotor workspaces`: the walls between those who share a database."""

from __future__ import annotations

import click

from rotor.cli.database import on_database
from rotor.cli.output import age, as_json, print_json, print_table
from rotor.errors import ConfigError

__all__ = ["workspaces"]


@click.group()
def workspaces() -> None:
    """Workspaces: what one holds, no key of another sees.

    Works on DATABASE_URL, or on the database of a `rotor dev` that runs in this folder.
    """


@workspaces.command()
@click.argument("name")
@as_json
def create(*, name: str, as_json: bool) -> None:
    """Make the workspace NAME, unless it exists. `rotor keys create --workspace NAME` makes it, too.

    \b
    Example:
      rotor workspaces create staging
    """
    from rotor.store import workspaces as stored
    from rotor.store.database import Database
    from rotor.store.problems import Invalid

    async def work(database: Database) -> bool:
        return await stored.create(database, name)

    try:
        is_new = on_database(work)
    except Invalid as problem:
        raise ConfigError(f"no workspace was made: {problem}") from None
    if as_json:
        print_json({"workspace": name, "created": is_new})
    else:
        click.echo(f"Created {name}." if is_new else f"{name} was there already.")


@workspaces.command("list")
@as_json
def list_workspaces(*, as_json: bool) -> None:
    """List the workspaces, oldest first, with how many keys and functions each has.

    \b
    Example:
      rotor workspaces list
    """
    from rotor.store import workspaces as stored
    from rotor.store.database import Database
    from rotor.store.workspaces import Workspace

    async def work(database: Database) -> list[Workspace]:
        return await stored.listed(database)

    found = on_database(work)
    if as_json:
        print_json({"items": found})
        return
    print_table(
        ["WORKSPACE", "AGE", "KEYS", "FUNCTIONS"],
        [(one.name, age(one.created_at), str(one.keys), str(one.functions)) for one in found],
        empty="There is no workspace.",
    )
