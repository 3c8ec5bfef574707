"""`rotor signal`: answer the runs that wait for a person or another program."""

from __future__ import annotations

from typing import Any

import click

from rotor.cli.output import age, as_json, print_json, print_table
from rotor.cli.send import read_json

__all__ = ["signal"]

RUNS_LOOKED_AT = 200
AT_ONCE = 10


@click.group()
def signal() -> None:
    """Complete the signals that runs wait for."""


@signal.command()
@click.argument("signal_id", metavar="ID")
@click.argument("data", metavar="JSON", default="null")
@as_json
def complete(*, signal_id: str, data: str, as_json: bool) -> None:
    """Complete the signal ID with JSON as its data. `-` reads the data from standard input.

    Where no run waits yet, the data is kept and the wait finds it. A signal is completed once.

    \b
    Example:
      rotor signal complete approval-7 '{"approved": true}'
    """
    from rotor.sdk.sync_client import SyncRotor

    value = read_json(data)
    with SyncRotor() as rotor:
        completion = rotor.complete_signal(signal_id, value)
    if as_json:
        print_json(completion)
    elif completion.delivered:
        click.echo(f"Delivered to run {completion.run_id}.")
    else:
        click.echo("No run waits for it yet: it is kept for the one that will.")


@signal.command("list")
@as_json
def list_signals(*, as_json: bool) -> None:
    """List the signals that runs wait for, of the newest 200 runs that wait and the newest 200 that run.

    \b
    Example:
      rotor signal list
    """
    import asyncio

    waits = asyncio.run(_waits())
    if as_json:
        print_json({"items": waits})
        return
    print_table(
        ["SIGNAL", "FUNCTION", "RUN", "STEP", "SINCE", "UNTIL"],
        [
            (
                wait["signal"],
                wait["function_id"],
                wait["run_id"],
                wait["step_id"],
                age(wait["started_at"]),
                f"{wait['deadline'].astimezone():%Y-%m-%d %H:%M:%S}" if wait["deadline"] else "-",
            )
            for wait in waits
        ],
        empty="No run waits for a signal.",
    )


async def _waits() -> list[dict[str, Any]]:
    """The open waits for a signal, newest run first."""
    import asyncio

    from rotor.sdk.client import Rotor
    from rotor.sdk.resources import Run

    async with Rotor() as rotor:
        pages = [await rotor.runs.list(status=status, limit=RUNS_LOOKED_AT) for status in ("waiting", "running")]
        gate = asyncio.Semaphore(AT_ONCE)

        async def read(run_id: str) -> Run:
            async with gate:
                return await rotor.runs.get(run_id)

        runs = await asyncio.gather(*(read(run.id) for page in pages for run in page.items))
    return [
        {
            "signal": (step.waits_for or "").removeprefix("signal:"),
            "function_id": run.function_id,
            "run_id": run.id,
            "step_id": step.id,
            "started_at": step.started_at,
            "deadline": step.deadline,
        }
        for run in runs
        for step in run.steps
        if step.op == "wait_for_signal" and step.status == "waiting"
    ]
