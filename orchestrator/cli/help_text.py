"""The text of --help: examples first, plain lines, nothing imported for it."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Sequence

import click

from orchestrator.cli.table_of_commands import EXAMPLES, SECTIONS, Entry

_ABOUT = "orchestrator: every record one answer, at batch price, whatever crashes in between"
_MORE = "orchestrator COMMAND --help, orchestrator help TOPIC, orchestrator help ORCnnnn"


def of_root(ctx: click.Context, root: click.Command, entries: Sequence[Entry]) -> str:
    """Return the first page: examples, then the commands by section, then global options."""
    lines = [_ABOUT, ""]
    width = max(len(example) for example, _ in EXAMPLES)
    lines += [f"  orchestrator {example:<{width}}   # {why}" for example, why in EXAMPLES]
    width = max(len(entry.name) for entry in entries)
    for section in SECTIONS:
        chosen = [entry for entry in entries if entry.section == section]
        if chosen:
            lines += ["", f"{section}:"]
            lines += [f"  {entry.name:<{width}}  {entry.help}" for entry in chosen]
    lines += ["", "everywhere, before or after the command:", *_options(ctx, root.params)]
    return "\n".join([*lines, "", f"more: {_MORE}"])


def of_command(ctx: click.Context, command: click.Command, examples: Sequence[str]) -> str:
    """Return a command's page: what it does, examples, usage, its own options."""
    return "\n".join([*_opening(command, examples), *_usage(ctx, command)])


def of_group(ctx: click.Context, group: click.Group, examples: Sequence[str]) -> str:
    """Return a noun's page: what it is, examples, its verbs."""
    lines = [*_opening(group, examples), "", "commands:"]
    verbs = [(name, group.get_command(ctx, name)) for name in group.list_commands(ctx)]
    width = max((len(name) for name, _ in verbs), default=0)
    lines += [
        f"  {name:<{width}}  {verb.get_short_help_str(120).rstrip('.')}"
        for name, verb in verbs
        if verb is not None
    ]
    return "\n".join([*lines, *_usage(ctx, group)])


def _opening(command: click.Command, examples: Sequence[str]) -> Iterator[str]:
    text = inspect.cleandoc(command.help or "")
    yield text.split("\n", 1)[0]
    if examples:
        yield ""
        yield from (f"  {example}" for example in examples)
    rest = text.partition("\n")[2].strip()
    if rest:
        yield ""
        yield rest


def _usage(ctx: click.Context, command: click.Command) -> Iterator[str]:
    pieces = " ".join(piece for piece in command.collect_usage_pieces(ctx) if piece != "[OPTIONS]")
    yield ""
    yield f"usage: {ctx.command_path} {pieces}".rstrip() + " [options]"
    own = [p for p in command.params if isinstance(p, click.Option) and p.expose_value]
    if own:
        yield ""
        yield "options:"
        yield from _options(ctx, own)
    shared = [p for p in command.params if isinstance(p, click.Option) and not p.expose_value]
    if shared:
        yield ""
        names = " ".join(max(option.opts, key=len) for option in shared)
        yield from textwrap.wrap(f"everywhere: {names}", 98, subsequent_indent="  ")


def _options(ctx: click.Context, params: Sequence[click.Parameter]) -> Iterator[str]:
    records = [record for param in params if (record := param.get_help_record(ctx))]
    width = max((len(names) for names, _ in records if len(names) <= 30), default=0)
    for names, text in records:
        yield f"  {names:<{width}}  {text}".rstrip()
