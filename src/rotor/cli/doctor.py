"""`rotor doctor`: hold the database against what must always be true of it."""

from __future__ import annotations

import click

from rotor.cli import exits
from rotor.cli.database import on_database
from rotor.cli.output import as_json, print_json, print_table, progress

__all__ = ["doctor"]


@click.command()
@as_json
@click.pass_context
def doctor(context: click.Context, *, as_json: bool) -> None:
    """Check that every run can go on by itself.

    Looks for runs, waits and schedules that could not, and changes nothing. Every run that has not ended must have
    exactly one reason to move. Exit code 1 means that something was found. Works on DATABASE_URL, or on the database
    of a `rotor dev` that runs in this folder.

    \b
    Example:
      rotor doctor --json
    """
    from rotor.store.doctor import check

    with progress("Checking every run that has not ended"):
        findings = on_database(check)
    if as_json:
        print_json({"findings": findings})
    else:
        print_table(
            ["KIND", "SUBJECT", "WHAT IS WRONG"],
            [(finding.kind, finding.subject, finding.message) for finding in findings],
            empty="All is well: every run that has not ended has a reason to move.",
        )
    context.exit(exits.FAILED if findings else 0)
