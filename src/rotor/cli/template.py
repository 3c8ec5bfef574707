"""`rotor template`: starter workflows, each a small folder that is copied into the user's own."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from rotor.cli.exits import NotFoundError
from rotor.cli.output import as_json, print_json, print_table
from rotor.errors import ConfigError

__all__ = ["template"]

TEMPLATES = Path(__file__).parent.parent / "templates"
"""Package data: a folder for each template, whose README opens with its name and one paragraph that describes it."""

APP = "workflows.py"


@click.group()
def template() -> None:
    """Starter workflows to make your own."""


@template.command("list")
@as_json
def list_templates(*, as_json: bool) -> None:
    """List the templates.

    \b
    Example:
      rotor template list
    """
    if as_json:
        print_json({"items": [{"name": name, "description": _description(name)} for name in _names()]})
        return
    print_table(["NAME", "WHAT IT IS"], [(name, _description(name)) for name in _names()], empty="There is none.")
    click.echo("\n`rotor template add NAME` copies one into a folder of that name.")


def _complete_name(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name, help=_description(name)) for name in _names() if name.startswith(incomplete)]


@template.command()
@click.argument("name", shell_complete=_complete_name)
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The folder to copy it into, made where it does not exist. A new folder NAME unless given.",
)
@click.option("--force", is_flag=True, help="Overwrite files that are there already.")
@as_json
def add(*, name: str, into: Path | None, force: bool, as_json: bool) -> None:
    """Copy the template NAME into a folder of yours, and say what to type next.

    No file is overwritten without --force: where one is there already, nothing is copied.

    \b
    Example:
      rotor template add multi-step-outbound --into outbound
    """
    if name not in _names():
        raise NotFoundError(f"there is no template {name!r}; there are {', '.join(_names())}")
    target = into or Path(name)
    files = _files(TEMPLATES / name)
    there = [str(target / file) for file in files if (target / file).exists()]
    if there and not force:
        raise ConfigError(
            f"nothing was copied: {', '.join(there)} would be overwritten; choose another folder with --into DIR, "
            "or give --force"
        )
    try:
        _copy(TEMPLATES / name, target, files)
    except OSError as error:
        raise ConfigError(f"the template cannot be copied into {target}: {error.strerror} ({error.filename})") from None
    if as_json:
        print_json({"template": name, "folder": str(target), "files": [str(file) for file in files]})
    else:
        _tell(name, target, files)


def _names() -> list[str]:
    return sorted(path.name for path in TEMPLATES.iterdir() if (path / APP).is_file())


def _files(folder: Path) -> list[Path]:
    """The files of a template, relative to it. What Python compiled beside them is none of it."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if not any(part.startswith((".", "__pycache__")) for part in path.parts))


def _description(name: str) -> str:
    """The first paragraph below the title of the template's README, on one line."""
    readme = (TEMPLATES / name / "README.md").read_text(encoding="utf-8")
    return " ".join(readme.split("\n\n")[1].split())


def _copy(source: Path, target: Path, files: list[Path]) -> None:
    for file in files:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        (target / file).write_bytes((source / file).read_bytes())


def _tell(name: str, target: Path, files: list[Path]) -> None:
    click.echo(f"Added {name} to {target}:")
    for file in files:
        click.echo(f"  {file}")
    click.echo("\nNext:")
    if target.resolve() != Path.cwd():
        click.echo(f"  cd {shlex.quote(str(target))}")
    click.echo(f"  rotor dev {APP}")
    click.echo("README.md says what to install, what can be set, and how to start a run.")
