"""`rotor signal`: answer the runs that wait for a person or another program."""

from __future__ import annotations

import sys
from typing import Any

import click

from rotor.cli.output import age, as_json, print_json, print_table, progress
from rotor.cli.send import parse_json, read_json
from rotor.errors import ConfigError, DurationError

__all__ = ["signal"]

RUNS_LOOKED_AT = 200
AT_ONCE = 10
APPROVED, REJECTED = '{"approved": true}', '{"approved": false}'
ANSWERS = {"a": APPROVED, "approve": APPROVED, "r": REJECTED, "reject": REJECTED}
"""What may be typed for JSON."""


@click.group(invoke_without_command=True)
@click.pass_context
def signal(context: click.Context) -> None:
    """Complete the signals that runs wait for.

    Without a command it lists them and, on a terminal, asks for one of them and for its data: approved, rejected, or
    any JSON.

    \b
    Example:
      rotor signal
    """
    if context.invoked_subcommand is not None:
        return
    waits = _waits()
    _show(waits)
    if waits and sys.stdin.isatty() and sys.stdout.isatty():
        _ask(waits)


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
    _complete(signal_id, read_json(data), as_json=as_json)


@signal.command()
@click.argument("signal_id", metavar="ID")
@click.option("--expires-in", metavar="DURATION", default="7d", show_default=True, help="How long it is good.")
@as_json
def link(*, signal_id: str, expires_in: str, as_json: bool) -> None:
    """Make a link whose page approves or rejects: it completes the signal ID, once. Who has it needs no key.

    \b
    Example:
      rotor signal link approval-7 --expires-in 48h
    """
    from rotor.sdk.sync_client import SyncRotor

    try:
        with SyncRotor() as rotor:
            made = rotor.signal_link(signal_id, expires_in=expires_in)
    except DurationError as error:
        raise ConfigError(f"--expires-in: {error}") from None
    if as_json:
        print_json(made)
    else:
        click.echo(made.url)


@signal.command("list")
@as_json
def list_signals(*, as_json: bool) -> None:
    """List the signals that runs wait for, of the newest 200 runs that wait and the newest 200 that run.

    \b
    Example:
      rotor signal list
    """
    waits = _waits()
    if as_json:
        print_json({"items": waits})
    else:
        _show(waits)


def _show(waits: list[dict[str, Any]]) -> None:
    print_table(
        ["#", "SIGNAL", "FUNCTION", "RUN", "STEP", "SINCE", "UNTIL"],
        [
            (
                str(number),
                wait["signal"],
                wait["function_id"],
                wait["run_id"],
                wait["step_id"],
                age(wait["started_at"]),
                f"{wait['deadline'].astimezone():%Y-%m-%d %H:%M:%S}" if wait["deadline"] else "-",
            )
            for number, wait in enumerate(waits, start=1)
        ],
        empty="No run waits for a signal.",
    )


def _ask(waits: list[dict[str, Any]]) -> None:
    """Complete one of `waits` with what the user says; nothing said completes none."""
    number = 1
    if len(waits) > 1:
        number = click.prompt("Which one", type=click.IntRange(1, len(waits)), prompt_suffix="? ")
    wait = waits[number - 1]
    said = click.prompt(
        f"{wait['signal']}: a(pprove), r(eject), or JSON; Enter leaves it",
        default="",
        show_default=False,
        value_proc=_checked_answer,
    )
    if said:
        _complete(wait["signal"], parse_json(said), as_json=False)


def _checked_answer(text: str) -> str:
    """JSON for a word that stands for it, other JSON as it is, nothing for nothing; else the user is asked again."""
    answer = ANSWERS.get(text.strip().lower(), text.strip())
    try:
        if answer:
            parse_json(answer)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    return answer


def _complete(signal_id: str, data: Any, *, as_json: bool) -> None:
    from rotor.sdk.sync_client import SyncRotor

    with SyncRotor() as rotor:
        completion = rotor.complete_signal(signal_id, data)
    if as_json:
        print_json(completion)
    elif completion.delivered:
        click.echo(f"Delivered to run {completion.run_id}.")
    else:
        click.echo("No run waits for it yet: it is kept for the one that will.")


def _waits() -> list[dict[str, Any]]:
    """The open waits for a signal, newest run first."""
    import asyncio

    with progress("Looking at the runs that wait"):
        return asyncio.run(_read_waits())


async def _read_waits() -> list[dict[str, Any]]:
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
