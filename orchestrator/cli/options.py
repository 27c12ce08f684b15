"""Options and types that several commands share; each means the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import click

from orchestrator.cli.session import Session
from orchestrator.domain.filters import Field, Filter, parse_filter
from orchestrator.domain.money import Money
from orchestrator.domain.units import parse_duration, parse_money, parse_size

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class _Written(click.ParamType[object]):
    """A quantity as people write it, read by one of the parsers of `domain.units`."""

    def __init__(self, name: str, parse: Callable[[str], object], made: type) -> None:
        self.name = name
        self._parse = parse
        self._made = made

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        """Return the quantity; a value that is one already passes."""
        if isinstance(value, self._made):
            return value
        try:
            return self._parse(str(value))
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


DURATION = _Written("duration", parse_duration, timedelta)
"""`90s`, `15m`, `6h`, `3d`: a timedelta."""

SIZE = _Written("size", parse_size, int)
"""`100MB`: bytes."""

MONEY = _Written("money", parse_money, Money)
"""`"40 USD"`: Money."""


class _FilterType(click.ParamType[Filter]):
    name = "filter"

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._fields = fields

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Filter:
        """Return the conditions; a duration counts back from now, a date is in the user's zone."""
        if isinstance(value, tuple):
            return value
        session = ctx.find_object(Session) if ctx else None
        if session is None:
            self.fail("a filter needs a session", param, ctx)
        return parse_filter(str(value), self._fields, now=session.now())


def where_option(fields: Mapping[str, Field]) -> Decorator:
    """`--where FILTER`, passed as `where: Filter`, empty when not given."""
    return click.option(
        "--where",
        type=_FilterType(fields),
        default=(),
        metavar="FILTER",
        help="only these: state:failed key:page-* attempts>2 (orchestrator help filters)",
    )


def limit_option(default: int = 50) -> Decorator:
    """`--limit N`, passed as `limit: int`; 0 is no limit."""
    return click.option(
        "--limit",
        type=click.IntRange(min=0),
        default=default,
        metavar="N",
        show_default=True,
        help="at most so many, 0 for all",
    )


def after_option() -> Decorator:
    """`--after ID`, passed as `after: str | None`: the list goes on behind that row."""
    return click.option("--after", metavar="ID", help="go on behind this row")


def sort_option(keys: Sequence[str]) -> Decorator:
    """`--sort KEY`, passed as `sort: str`; the first of `keys` is the default."""
    return click.option(
        "--sort", type=click.Choice(keys), default=keys[0], show_default=True, help="order"
    )


def dry_run_option() -> Decorator:
    """`-n/--dry-run`, passed as `dry_run: bool`."""
    return click.option("-n", "--dry-run", is_flag=True, help="print each call and change, do none")


def yes_option() -> Decorator:
    """`-y/--yes`, passed as `yes: bool`, for `Console.confirm`."""
    return click.option("-y", "--yes", is_flag=True, help="answer the question with yes")


def confirm_option() -> Decorator:
    """`--confirm NAME`, passed as `confirm: str | None`, for `Console.confirm_name`."""
    return click.option("--confirm", metavar="NAME", help="confirm by name what can't be undone")
