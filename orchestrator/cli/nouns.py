"""Nouns that list by themselves: `records labels` is `records list labels`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from orchestrator.cli.command import Group

LIST = "list"
_HELP = frozenset({"-h", "--help"})


class Noun(Group):
    """A group whose verb may be left out: then it lists."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` in front where no verb is named; help and completion see the bare noun."""
        if not ctx.resilient_parsing and not _names_a_verb(args, self.list_commands(ctx)):
            args = [LIST, *args]
        return super().parse_args(ctx, args)


def _names_a_verb(args: Sequence[str], verbs: Sequence[str]) -> bool:
    if not args:
        return False
    if args[0].startswith("-"):
        return args[0] in _HELP or any(arg in verbs for arg in args)
    return args[0] in verbs


def noun(*, examples: Sequence[str] = ()) -> Callable[[Callable[..., Any]], Noun]:
    """Make a function a noun that lists; its docstring's first line is its help."""
    return click.group(cls=Noun, examples=examples)
