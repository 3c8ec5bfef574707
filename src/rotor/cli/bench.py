"""`rotor bench`: a quick look at how fast Rotor is on this machine and this Postgres."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from rotor.cli.database import database_url, translated
from rotor.cli.output import as_json, print_json, print_table, progress
from rotor.errors import ConfigError

__all__ = ["bench"]


@click.command()
@click.option("--runs", type=click.IntRange(1, 10_000), default=500, show_default=True, help="Runs at the same time.")
@as_json
def bench(*, runs: int, as_json: bool) -> None:
    """Measure steps per second and latencies here, in a few seconds, with every result checked.

    Uses DATABASE_URL, in a schema of its own that is dropped at the end, or else an embedded Postgres for the moment.
    Server and worker share one process.

    \b
    Example:
      rotor bench --runs 2000
    """
    from rotor.dev.bench import Figures, measure
    from rotor.sdk.loop import run_loop

    found: list[Figures] = []

    async def work(dsn: str) -> None:
        found.append(await measure(dsn, runs=runs))

    with progress("Measuring for a few seconds"), _postgres() as dsn:
        run_loop(work(dsn))
    (figures,) = found
    if as_json:
        print_json(figures)
        return
    postgres = figures.postgres
    print_table(
        ["WHAT", "HERE"],
        [
            (f"steps a second, {figures.runs:,} runs of {figures.steps} at once", f"{figures.steps_per_second:,.0f}"),
            ("one step of a run alone", f"{figures.step_ms:.2f} ms"),
            ("from an event to the first line of its run", f"{figures.first_line_ms:.2f} ms"),
            (f"one statement to Postgres {postgres.version} and back", f"{figures.query_ms:.2f} ms"),
        ],
        empty="",
    )
    if not postgres.is_on:
        click.echo(
            f"This Postgres loses commits in a crash (fsync {postgres.fsync}, synchronous_commit "
            f"{postgres.synchronous_commit}): switch both on before you trust it, and measure again.",
            err=True,
        )


@contextmanager
def _postgres() -> Iterator[str]:
    """The address of the database to measure on."""
    if os.environ.get("DATABASE_URL"):
        from rotor.store.migrate import pending

        dsn = database_url()
        translated(dsn, lambda: pending(dsn))  # whether it can be reached, said in plain words
        yield dsn
        return
    if os.name == "nt":
        raise ConfigError("there is no embedded Postgres on Windows itself: set DATABASE_URL, or use WSL")
    from rotor.dev.postgres import Postgres

    with TemporaryDirectory(prefix="rotor-bench-") as folder:
        postgres = Postgres(Path(folder))
        postgres.start()
        try:
            yield postgres.dsn
        finally:
            postgres.stop()
