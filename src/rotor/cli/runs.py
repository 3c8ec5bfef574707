"""`rotor runs`: what the events started, and how it goes."""

from __future__ import annotations

from typing import Any

import click

from rotor.cli import exits
from rotor.cli.output import COLOURS, MARKS, age, as_json, console, print_json, print_table, printable

__all__ = ["runs"]

STATUSES = ("queued", "running", "waiting", "completed", "failed", "cancelled")
"""The protocol's `RunStatus`, whose import would slow down every `--help`."""


@click.group()
def runs() -> None:
    """Look at runs, watch them, cancel and replay them."""


@runs.command("list")
@click.option("--function", "function_id", help="Of one function.")
@click.option("--status", type=click.Choice(STATUSES), help="In one status.")
@click.option("--event", "event_id", help="Started by one event.")
@click.option("--since", help="Created at or after, as RFC 3339.")
@click.option("--until", help="Created before, as RFC 3339.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True)
@click.option("--cursor", help="The next page: next_cursor of the one before.")
@as_json
def list_runs(
    *,
    function_id: str | None,
    status: Any,
    event_id: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> None:
    """List runs, newest first.

    \b
    Example:
      rotor runs list --status failed --since 2026-01-01T00:00:00Z
    """
    from rotor.sdk.sync_client import SyncRotor

    with SyncRotor() as rotor:
        page = rotor.runs.list(
            function_id=function_id,
            status=status,
            event_id=event_id,
            since=since,
            until=until,
            limit=limit,
            cursor=cursor,
        )
    if as_json:
        print_json(page)
        return
    rows = [
        (run.id, run.function_id, f"[{COLOURS[run.status]}]{MARKS[run.status]} {run.status}[/]", age(run.created_at))
        for run in page.items
    ]
    print_table(["RUN", "FUNCTION", "STATUS", "AGE"], rows, empty="No such runs.")
    if page.next_cursor:
        click.echo(f"More: --cursor {page.next_cursor}")


@runs.command()
@click.argument("run_id", metavar="RUN")
@as_json
def show(*, run_id: str, as_json: bool) -> None:
    """Show a run with its steps and the runs that it invoked.

    \b
    Example:
      rotor runs show 01890a5d-ac96-774b-bcce-b302099a8057
    """
    from rotor.cli.tree import RunTree, render
    from rotor.sdk.sync_client import SyncRotor

    with SyncRotor() as rotor:
        run = rotor.runs.get(run_id)
        if as_json:
            print_json(run)
            return
        tree = RunTree(run_id)
        tree.add(run_id, run)
        while missing := set(tree.children()) - set(tree.runs):
            for child in missing:
                tree.add(child, rotor.runs.get(child))
    console().print(render(tree))


@runs.command()
@click.argument("run_id", metavar="RUN")
@as_json
@click.pass_context
def watch(context: click.Context, *, run_id: str, as_json: bool) -> None:
    """Watch a run and the runs that it invokes until it has ended.

    Exit code 0 says that it completed, 1 that it failed or was cancelled. With --json each change is one line.

    \b
    Example:
      rotor runs watch 01890a5d-ac96-774b-bcce-b302099a8057
    """
    import asyncio

    from rotor.cli.watch import watch_run

    run = asyncio.run(watch_run(run_id, as_json=as_json))
    context.exit(0 if run.status == "completed" else exits.FAILED)


@runs.command()
@click.argument("run_id", metavar="RUN")
@click.option("--follow", "-f", is_flag=True, help="Go on until the run has ended.")
@as_json
def logs(*, run_id: str, follow: bool, as_json: bool) -> None:
    """Print what a run has logged, oldest first. With --json each line is one JSON document.

    \b
    Example:
      rotor runs logs 01890a5d-ac96-774b-bcce-b302099a8057 --follow
    """
    import msgspec

    from rotor.sdk.sync_client import SyncRotor

    with SyncRotor() as rotor:
        for line in rotor.runs.logs(run_id, follow=follow):
            if as_json:
                click.echo(msgspec.json.encode(line).decode())
                continue
            if line.missed:
                click.secho(f"{line.missed} lines were lost here on the way to the server", fg="yellow")
            step = f"  ({line.step_id}{f' #{line.step_index + 1}' if line.step_index else ''})" if line.step_id else ""
            click.echo(f"{line.at:%H:%M:%S}  {line.level:8}  {printable(line.message + step)}")


@runs.command()
@click.argument("run_id", metavar="RUN")
@as_json
def cancel(*, run_id: str, as_json: bool) -> None:
    """Cancel a run: the step in flight ends and is recorded, nothing later starts.

    \b
    Example:
      rotor runs cancel 01890a5d-ac96-774b-bcce-b302099a8057
    """
    from rotor.sdk.sync_client import SyncRotor

    with SyncRotor() as rotor:
        run = rotor.runs.cancel(run_id)
    if as_json:
        print_json(run)
    elif run.status == "cancelled":
        click.echo(f"Cancelled {run.id}.")
    else:
        click.echo(f"Cancelling {run.id}: its step in flight ends first.")


@runs.command()
@click.argument("run_id", metavar="RUN")
@as_json
def replay(*, run_id: str, as_json: bool) -> None:
    """Start a new run with the same event.

    \b
    Example:
      rotor runs replay 01890a5d-ac96-774b-bcce-b302099a8057
    """
    from rotor.sdk.sync_client import SyncRotor

    with SyncRotor() as rotor:
        started = rotor.runs.replay(run_id)
    if as_json:
        print_json({"run_id": started})
    else:
        click.echo(f"Started {started}.")
