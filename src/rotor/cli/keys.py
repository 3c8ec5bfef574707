"""`rotor keys`: who may speak for a workspace."""

from __future__ import annotations

from uuid import UUID

import click

from rotor.cli.database import on_database
from rotor.cli.exits import NotFoundError
from rotor.cli.output import age, as_json, print_json, print_table
from rotor.errors import ConfigError

__all__ = ["keys"]


@click.group()
def keys() -> None:
    """API keys: who may speak for a workspace.

    Works on DATABASE_URL, or on the database of a `rotor dev` that runs in this folder.
    """


@keys.command()
@click.option("--name", default="", help="What the key is for, to recognise it by.")
@click.option("--workspace", default="default", show_default=True, help="Made where it does not exist.")
@as_json
def create(*, name: str, workspace: str, as_json: bool) -> None:
    """Make a key. It is shown once.

    \b
    Example:
      rotor keys create --name billing-worker
    """
    from rotor.store.database import Database
    from rotor.store.keys import CreatedKey, Keys
    from rotor.store.problems import Invalid

    async def work(database: Database) -> CreatedKey:
        return await Keys(database).create(name=name, workspace=workspace)

    try:
        created = on_database(work)
    except Invalid as problem:
        raise ConfigError(f"no key was made: {problem}") from None
    if as_json:
        print_json({"key": created.key, "signing_key": created.signing_key, "workspace": created.workspace})
        return
    click.echo(f"Workspace {created.workspace}. Keep these two; the first cannot be shown again.\n")
    click.echo(f"  ROTOR_API_KEY={created.key}")
    click.echo(f"  ROTOR_SIGNING_KEY={created.signing_key}")


@keys.command("list")
@click.option("--workspace", help="Of one workspace only.")
@as_json
def list_keys(*, workspace: str | None, as_json: bool) -> None:
    """List the keys, newest first, revoked ones too.

    \b
    Example:
      rotor keys list --workspace default
    """
    from rotor.store.database import Database
    from rotor.store.keys import ApiKey, Keys

    async def work(database: Database) -> list[ApiKey]:
        return await Keys(database).list(workspace=workspace)

    found = on_database(work)
    if as_json:
        print_json({"items": found})
        return
    print_table(
        ["ID", "KEY", "WORKSPACE", "NAME", "AGE", "LAST USED", ""],
        [
            (
                str(key.id),
                f"rk_{key.prefix}_…",
                key.workspace,
                key.name or "-",
                age(key.created_at),
                age(key.last_used_at),
                "revoked" if key.revoked_at else "",
            )
            for key in found
        ],
        empty="There is no key yet: `rotor keys create` makes one.",
    )


@keys.command()
@click.argument("key_id", metavar="ID", type=click.UUID)
def revoke(*, key_id: UUID) -> None:
    """Refuse a key from now on. ID is the one that `rotor keys list` shows.

    \b
    Example:
      rotor keys revoke 01890a5d-ac96-774b-bcce-b302099a8057
    """
    from rotor.store.database import Database
    from rotor.store.keys import Keys
    from rotor.store.problems import NotFound

    async def work(database: Database) -> None:
        await Keys(database).revoke(key_id)

    try:
        on_database(work)
    except NotFound as problem:
        raise NotFoundError(f"{problem}: see `rotor keys list`") from None
    click.echo(f"Revoked {key_id}.")
