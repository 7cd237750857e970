"""`typegate completion`: what a shell needs to complete commands and flags."""

import click

from gateway.cli.options import examples

__all__ = ["completion"]


@click.command(
    epilog=examples(
        'eval "$(typegate completion bash)"                    in ~/.bashrc',
        'eval "$(typegate completion zsh)"                     in ~/.zshrc',
        "typegate completion fish > ~/.config/fish/completions/typegate.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell."""
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root().command
    kind = get_completion_class(shell)
    assert kind is not None  # click knows all three
    # not source(): it would refuse an old bash on this machine, and the script may be for another
    complete = kind(root, {}, "typegate", "_TYPEGATE_COMPLETE")
    click.echo(complete.source_template % complete.source_vars())
