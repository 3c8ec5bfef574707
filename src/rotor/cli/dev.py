"""`rotor dev`: everything on this machine, in one process tree."""

from __future__ import annotations

import os
from pathlib import Path

import click

from rotor.cli.database import DEV_FOLDER, database_schema, translated
from rotor.errors import ConfigError

__all__ = ["dev"]


@click.command()
@click.argument("app", required=False)
@click.option("--port", type=click.IntRange(1, 65_535), default=8484, show_default=True, help="Listen on 127.0.0.1.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEV_FOLDER,
    show_default=True,
    help="Where the embedded Postgres keeps its data.",
)
@click.option("--slots", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Runs at the same time.")
@click.option("--no-reload", is_flag=True, help="Do not restart the worker when a file is saved.")
@click.option(
    "-u",
    "--serve-url",
    "serve_urls",
    multiple=True,
    metavar="URL",
    help="Keep the serve app at URL registered; set ROTOR_DEV=1 in it.",
)
def dev(*, app: str | None, port: int, data: Path, slots: int, no_reload: bool, serve_urls: tuple[str, ...]) -> None:
    """Run everything on this machine, with reload.

    That is Postgres, server, dashboard and a worker for APP, which is started anew at each save. APP is a file
    (app.py) or module[:attribute]; every function object in it is served. With DATABASE_URL that Postgres is used,
    else an embedded one whose data stays in --data. No key is needed on 127.0.0.1. Ctrl-C stops all.

    \b
    Examples:
      rotor dev app.py
      rotor dev -u http://127.0.0.1:8000/api/rotor
    """
    if os.name == "nt":
        raise ConfigError("rotor dev does not run on Windows itself: use it in WSL")
    from rotor.dev.app import DevConfig, run
    from rotor.sdk.loop import run_loop
    from rotor.store.migrate import pending

    dsn, schema = os.environ.get("DATABASE_URL") or None, database_schema()
    if dsn is not None:
        translated(dsn, lambda: pending(dsn, schema=schema))

    config = DevConfig(
        app=app,
        port=port,
        data=data,
        slots=slots,
        reload=not no_reload,
        serve_urls=serve_urls,
        database_url=dsn,
        schema=schema,
    )
    run_loop(run(config, say=click.echo))
