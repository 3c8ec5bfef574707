"""`rotor audit`: who changed what by hand."""

from __future__ import annotations

import click

from rotor.cli.database import on_database
from rotor.cli.exits import NotFoundError
from rotor.cli.output import as_json, print_json, print_table

__all__ = ["audit"]


@click.command()
@click.option("--workspace", default="default", show_default=True)
@click.option("--action", help="Of one kind only, as in function.deleted.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--cursor", help="The next_cursor of an earlier page.")
@as_json
def audit(*, workspace: str, action: str | None, limit: int, cursor: str | None, as_json: bool) -> None:
    """Show who changed what, newest first: keys, functions, runs, signals.

    Works on DATABASE_URL, or on the database of a `rotor dev` that runs in this folder. An admin's key reads the same
    from GET /v1/audit.

    \b
    Example:
      rotor audit --action key.created
    """
    from rotor.store import audit as stored
    from rotor.store import workspaces
    from rotor.store.audit import ACTIONS, AuditEntry
    from rotor.store.database import Database
    from rotor.store.pages import Page
    from rotor.store.problems import Invalid, NotFound

    known = {one: one for one in ACTIONS}
    if action is not None and action not in known:
        raise click.UsageError(f"there is no action {action!r}: give one of {', '.join(ACTIONS)}")

    async def work(database: Database) -> Page[AuditEntry]:
        workspace_id = await workspaces.identify(database, workspace)
        wanted = known[action] if action is not None else None
        return await stored.page(database, workspace_id, action=wanted, cursor=cursor, items_max=limit)

    try:
        found = on_database(work)
    except NotFound as problem:
        raise NotFoundError(str(problem)) from None
    except Invalid as problem:
        raise click.UsageError(str(problem)) from None
    if as_json:
        print_json(found)
        return
    print_table(
        ["AT", "WHO", "FROM", "ACTION", "TARGET"],
        [
            (f"{one.at.astimezone():%Y-%m-%d %H:%M:%S}", one.actor or "-", one.address or "-", one.action, one.target)
            for one in found.items
        ],
        empty="Nothing has been done by hand yet.",
    )
    if found.next_cursor:
        click.echo(f"More: --cursor {found.next_cursor}")
