"""`rotor completion`: what teaches a shell to complete the command."""

from __future__ import annotations

import click

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    """Print the script that completes `rotor` in SHELL.

    \b
    Examples:
      rotor completion bash       eval "$(...)" of this stands in ~/.bashrc
      rotor completion zsh        eval "$(...)" of this stands in ~/.zshrc, below compinit
      rotor completion fish       in ~/.config/fish/config.fish, piped to `source`
    """
    from click.shell_completion import get_completion_class

    maker = get_completion_class(shell)
    assert maker is not None
    click.echo(maker(context.find_root().command, {}, "rotor", "_ROTOR_COMPLETE").source())
