"""`rotor worker`: serve an app's functions from this process, which dials out to the server."""

from __future__ import annotations

import signal

import click

from rotor.cli.logs import start_logging

__all__ = ["worker"]


@click.command()
@click.argument("app")
@click.option("--slots", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Runs at the same time.")
@click.option("--name", help="How the server and the dashboard call it. [default: host and process id]")
def worker(*, app: str, slots: int, name: str | None) -> None:
    """Serve the functions of APP over one connection to ROTOR_URL. No port is opened here.

    APP is a file (app.py) or module[:attribute]; every function object in it is served. SIGTERM and Ctrl-C let the
    steps in flight end, give unfinished runs back, and stop.

    \b
    Example:
      ROTOR_URL=https://rotor.example.com ROTOR_API_KEY=rk_... rotor worker app.py
    """
    import asyncio

    from rotor.dev.reports import describe
    from rotor.sdk.loading import load_functions
    from rotor.sdk.worker import connect

    start_logging()
    functions = load_functions(app)
    click.echo(describe(f"App {app}", [function.spec for function in functions]))

    async def serve() -> None:
        connection = connect(functions, slots=slots, name=name)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, connection.stop)
        await connection.run()

    asyncio.run(serve())
