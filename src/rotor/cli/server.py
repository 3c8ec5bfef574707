"""`rotor server`: the production server on `DATABASE_URL`."""

from __future__ import annotations

import click

from rotor.cli.database import check_migrated, database_schema, database_url
from rotor.cli.traces import start_tracing

__all__ = ["server"]


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 listens on every address.")
@click.option("--port", type=click.IntRange(1, 65_535), default=8484, show_default=True)
@click.option(
    "--public-url",
    envvar="ROTOR_PUBLIC_URL",
    help="Where serve apps reach this server, if not at its host and port. [env: ROTOR_PUBLIC_URL]",
)
@click.option(
    "--allow-outbound",
    envvar="ROTOR_ALLOW_OUTBOUND",
    default="",
    metavar="LIST",
    help="Serve apps may also be at these networks, addresses or hosts, as in 10.0.0.0/8,app.internal; "
    "unless named, none is called in a private network or on this machine. [env: ROTOR_ALLOW_OUTBOUND]",
)
def server(*, host: str, port: int, public_url: str | None, allow_outbound: str) -> None:
    """Run the server on DATABASE_URL. Every call needs a key (`rotor keys create`).

    Any number of servers may share one database. Migrate before a new version starts (`rotor migrate`).

    \b
    Example:
      DATABASE_URL=postgresql://rotor@db/rotor rotor server --host 0.0.0.0
    """
    from rotor.cli.logs import start_logging
    from rotor.sdk.loop import run_loop
    from rotor.server.server import ServerConfig, run
    from rotor.store.destinations import Destinations

    start_logging()
    start_tracing("rotor-server")
    destinations = Destinations.parse(allow_outbound) if allow_outbound else Destinations()
    dsn, schema = database_url(), database_schema()
    check_migrated(dsn, schema)
    config = ServerConfig(
        database_url=dsn, schema=schema, host=host, port=port, public_url=public_url, destinations=destinations
    )
    run_loop(run(config, ready=lambda: click.echo(f"Serving on {config.url}. Ctrl-C stops.")))
