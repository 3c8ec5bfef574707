"""`rotor worker`: serve an app's functions from this process, which dials out to the server."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from datetime import timedelta
from typing import NoReturn

import click

from rotor.cli.traces import flush_traces, start_tracing

__all__ = ["end_process", "worker"]


def duration(context: click.Context, option: click.Parameter, value: str) -> timedelta:
    """A duration such as 20s or 1m30s, as an option's callback."""
    from rotor.errors import DurationError
    from rotor.protocol.durations import parse_duration

    try:
        return parse_duration(value)
    except DurationError as error:
        raise click.BadParameter(str(error), context, option) from None


@click.command()
@click.argument("app")
@click.option("--slots", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Runs at the same time.")
@click.option("--name", help="How the server and the dashboard call it. [default: host and process id]")
@click.option(
    "--grace",
    callback=duration,
    metavar="DURATION",
    default="20s",
    show_default=True,
    help="How long runs in hand may go on after SIGTERM. It ends up to 5 s later: have your supervisor wait longer.",
)
def worker(*, app: str, slots: int, name: str | None, grace: timedelta) -> None:
    """Serve the functions of APP in this process.

    It dials out to ROTOR_URL, over one connection, and opens no port. APP is a file (app.py) or module[:attribute];
    every function object in it is served. SIGTERM and Ctrl-C let the steps in flight end, give unfinished runs back,
    and stop.

    \b
    Example:
      ROTOR_URL=https://rotor.example.com ROTOR_API_KEY=rk_... rotor worker app.py
    """
    import asyncio

    from rotor.cli.logs import start_logging
    from rotor.dev.reports import describe
    from rotor.sdk.loading import load_functions
    from rotor.sdk.loop import run_loop
    from rotor.sdk.worker import connect

    start_logging()
    functions = load_functions(app)
    start_tracing("rotor-worker")
    click.echo(describe(f"App {app}", [function.spec for function in functions]))

    async def serve() -> None:
        connection = connect(functions, slots=slots, name=name, grace_seconds=grace.total_seconds())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, connection.stop)
        await connection.run()

    run_loop(serve())
    flush_traces()
    end_process()


def end_process() -> NoReturn:
    """End now. A thread cannot be stopped: the interpreter would wait for bodies whose runs are given back already."""
    left = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    if not left:
        sys.exit(0)
    logging.getLogger("rotor.worker").warning("%d threads are left in the middle of their steps", len(left))
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
