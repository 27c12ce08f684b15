"""`orchestrator completion`: the shell's completion script."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from orchestrator.cli.command import command
from orchestrator.cli.session import Session

COMPLETE_VARIABLE = "_ORCHESTRATOR_COMPLETE"
INSTALL = {
    "bash": "orchestrator completion bash >> ~/.bash_completion",
    "zsh": 'orchestrator completion zsh > "${fpath[1]}/_orchestrator"',
    "fish": "orchestrator completion fish > ~/.config/fish/completions/orchestrator.fish",
}


@command(
    examples=(
        'eval "$(orchestrator completion bash)"',
        INSTALL["bash"],
        INSTALL["zsh"],
        INSTALL["fish"],
    )
)
@click.argument("shell", type=click.Choice(tuple(INSTALL)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of your shell.

    It works from the next shell on; names of commands and options are completed.
    """
    session = ctx.ensure_object(Session)
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click knows these three
    root = ctx.find_root().command
    made = kind(root, {}, "orchestrator", COMPLETE_VARIABLE)
    # Not made.source(): for bash that starts a bash to ask its version.
    script = made.source_template % made.source_vars()
    session.console.say(f"# install: {INSTALL[shell]}\n{script.strip()}")
