"""`rotor keys`: who may speak for a workspace, what for, and until when."""

from __future__ import annotations

import os
from uuid import UUID

import click

from rotor.cli.database import on_database
from rotor.cli.exits import NotFoundError
from rotor.cli.output import age, as_json, print_json, print_table
from rotor.errors import ConfigError, DurationError
from rotor.store.scopes import SCOPES, Scope

__all__ = ["keys"]


@click.group()
def keys() -> None:
    """API keys: who may speak for a workspace, and what for.

    Works on DATABASE_URL, or on the database of a `rotor dev` that runs in this folder.
    """


@keys.command()
@click.option("--name", default="", help="What the key is for, to recognise it by.")
@click.option("--workspace", default="default", show_default=True, help="Made where it does not exist.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=["admin"],
    show_default=True,
    help="What it allows; may be repeated.",
)
@click.option("--expires-in", metavar="DURATION", help="As in 90d. Unless given it holds until it is revoked.")
@as_json
def create(*, name: str, workspace: str, scopes: tuple[Scope, ...], expires_in: str | None, as_json: bool) -> None:
    """Make a key. It is shown once.

    \b
    Scopes:
      send      send events, complete signals
      read      read events, runs with their payloads, and functions; log in to the dashboard
      operate   connect workers, register, pause and resume functions, cancel and replay runs
      admin     all of these, delete functions, make login links, read the audit log; unless others are given

    \b
    Example:
      rotor keys create --name checkout --scope send --expires-in 90d
    """
    from rotor.protocol.durations import parse_duration
    from rotor.store.database import Database
    from rotor.store.keys import CreatedKey, Keys
    from rotor.store.problems import Invalid

    async def work(database: Database) -> CreatedKey:
        return await Keys(database).create(name=name, workspace=workspace, scopes=scopes, expires_in=lifetime)

    try:
        lifetime = None if expires_in is None else parse_duration(expires_in)
        created = on_database(work)
    except (Invalid, DurationError) as problem:
        raise ConfigError(f"no key was made: {problem}") from None
    if as_json:
        print_json({"key": created.key, "signing_key": created.signing_key, "workspace": created.workspace})
        return
    click.echo(f"Workspace {created.workspace}. Keep these two; the first cannot be shown again.\n")
    click.echo(f"  ROTOR_API_KEY={created.key}")
    click.echo(f"  ROTOR_SIGNING_KEY={created.signing_key}")


@keys.command("login-link")
@click.option("--name", default="", help="Who is to log in, to recognise the session by among the keys.")
@click.option("--workspace", default="default", show_default=True)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=["admin"],
    show_default=True,
    help="What the session allows; may be repeated.",
)
@click.option("--expires-in", metavar="DURATION", default="15m", show_default=True, help="How long the link is good.")
@as_json
def login_link(*, name: str, workspace: str, scopes: tuple[Scope, ...], expires_in: str, as_json: bool) -> None:
    """Print a link by which somebody logs in to the dashboard, once.

    Its address begins with ROTOR_PUBLIC_URL, or else ROTOR_URL.

    \b
    Example:
      rotor keys login-link --name ada --scope read
    """
    from rotor.protocol.durations import parse_duration
    from rotor.sdk.environment import url_or_default
    from rotor.store import workspaces
    from rotor.store.database import Database
    from rotor.store.keys import Keys, LoginLink
    from rotor.store.problems import Invalid, NotFound

    base = url_or_default(os.environ.get("ROTOR_PUBLIC_URL"))

    async def work(database: Database) -> LoginLink:
        workspace_id = await workspaces.identify(database, workspace)
        return await Keys(database).login_link(workspace_id, name=name, scopes=scopes, expires_in=lifetime)

    try:
        lifetime = parse_duration(expires_in)
        link = on_database(work)
    except NotFound as problem:
        raise NotFoundError(str(problem)) from None
    except (Invalid, DurationError) as problem:
        raise ConfigError(f"no link was made: {problem}") from None
    url = f"{base}/dashboard/link/{link.token}"
    if as_json:
        print_json({"url": url, "expires_at": link.expires_at})
        return
    click.echo(f"For one login, until {link.expires_at.astimezone():%Y-%m-%d %H:%M}:\n\n  {url}")


@keys.command("list")
@click.option("--workspace", help="Of one workspace only.")
@as_json
def list_keys(*, workspace: str | None, as_json: bool) -> None:
    """List the keys, newest first, revoked and expired ones too.

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
        ["ID", "KEY", "WORKSPACE", "NAME", "SCOPES", "AGE", "LAST USED", "UNTIL", ""],
        [
            (
                str(key.id),
                f"rk_{key.prefix}_…",
                key.workspace,
                key.name or "-",
                " ".join(key.scopes),
                age(key.created_at),
                age(key.last_used_at),
                f"{key.expires_at.astimezone():%Y-%m-%d %H:%M}" if key.expires_at else "-",
                "revoked" if key.revoked_at else "expired" if key.expired else "",
            )
            for key in found
        ],
        empty="There is no key yet: `rotor keys create` makes one.",
    )


@keys.command()
@click.option("--workspace", default="default", show_default=True)
@as_json
def rotate(*, workspace: str, as_json: bool) -> None:
    """Make a new signing key. The one before it stays valid until the next rotation, the older ones end now.

    \b
    Example:
      rotor keys rotate --workspace default
    """
    from rotor.store.database import Database
    from rotor.store.problems import NotFound
    from rotor.store.signing_keys import SigningKeys

    async def work(database: Database) -> str:
        return await SigningKeys(database).rotate(workspace=workspace)

    try:
        signing_key = on_database(work)
    except NotFound as problem:
        raise NotFoundError(str(problem)) from None
    if as_json:
        print_json({"signing_key": signing_key, "workspace": workspace})
        return
    click.echo("Give it to every serve app, beside the one that it has; then take that one away.\n")
    click.echo(f"  ROTOR_SIGNING_KEY={signing_key}")


@keys.command()
@click.argument("key_id", metavar="ID", type=click.UUID)
@as_json
def revoke(*, key_id: UUID, as_json: bool) -> None:
    """Refuse a key from now on. ID is the one that `rotor keys list` shows.

    Servers follow within a second, and cut off the workers and streams that use it within five.

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
    if as_json:
        print_json({"revoked": key_id})
    else:
        click.echo(f"Revoked {key_id}.")
