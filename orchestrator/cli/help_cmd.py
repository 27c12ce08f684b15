"""`orchestrator help`: commands, topics and error codes, all offline."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from orchestrator.cli.command import Root, command
from orchestrator.cli.output import Console
from orchestrator.cli.session import Session
from orchestrator.domain.errors import NotFound

PAGES = Path(__file__).parent / "help_pages"
TOPICS = ("environment", "exit-codes", "json", "signals", "filters")


@command(
    "help",
    examples=(
        "orchestrator help config",
        "orchestrator help exit-codes",
        "orchestrator help ORC3207",
    ),
)
@click.argument("subject", required=False, metavar="[COMMAND|TOPIC|ORCnnnn]")
@click.argument("rest", nargs=-1, metavar="")
@click.pass_context
def help_(ctx: click.Context, subject: str | None, rest: tuple[str, ...]) -> None:
    """Explain a command, a topic or an error code.

    Topics: environment, exit-codes, json, signals, filters.
    """
    session = ctx.ensure_object(Session)
    parent = ctx.find_root()
    if subject is None:
        whole = parent.get_help()
        data = {"subject": "", "text": whole}
        session.console.document("help", data, lambda console: console.say(whole))
        return
    text = _page(subject) or _command_help(parent, (subject, *rest))
    if text is None:
        raise _nothing(subject, parent)
    data = {"subject": subject, "text": text}

    def human(console: Console) -> None:
        console.say(text)

    session.console.document("help", data, human)


def page_of(code: str) -> str | None:
    """Return the help page of an error code or topic, None if there is none."""
    return _page(code)


def _page(subject: str) -> str | None:
    name = subject.upper() if subject.upper().startswith("ORC") else subject.lower()
    if not name.replace("-", "").isalnum():
        return None
    try:
        return (PAGES / f"{name}.md").read_text(encoding="utf-8").rstrip("\n")
    except FileNotFoundError:
        return None


def _command_help(parent: click.Context, names: tuple[str, ...]) -> str | None:
    ctx, group = parent, parent.command
    for name in names:
        found = group.get_command(ctx, name) if isinstance(group, click.Group) else None
        if found is None:
            return None
        ctx, group = click.Context(found, parent=ctx, info_name=name), found
    return ctx.get_help()


def _nothing(subject: str, parent: click.Context) -> NotFound:
    commands = parent.command.list_commands(parent) if isinstance(parent.command, Root) else []
    codes = [path.stem for path in PAGES.glob("ORC*.md")]
    if subject.upper().startswith("ORC"):
        near = difflib.get_close_matches(subject.upper(), codes, n=1)
    else:
        near = difflib.get_close_matches(subject.lower(), [*TOPICS, *commands], n=1)
    return NotFound(
        f'there is no help on "{subject}"' + (f', did you mean "{near[0]}"?' if near else ""),
        where="orchestrator help",
        why="it explains commands, error codes and the topics " + ", ".join(TOPICS),
        next=f"orchestrator help {near[0]}" if near else "orchestrator help",
    )
