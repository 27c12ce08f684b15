"""`orchestrator errors`: failures grouped by cause, and the command that mends each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from orchestrator import human
from orchestrator.cli.command import command
from orchestrator.cli.looking import reading
from orchestrator.cli.session import Session
from orchestrator.cli.tables import Column, Row, Share

if TYPE_CHECKING:
    from orchestrator.api.failing import FailureGroup
    from orchestrator.cli.output import Console

_COLUMNS = (
    Column("cause", "id"),
    Column("job"),
    Column("code"),
    Column("records", "count"),
    Column("share", "share"),
    Column("attempts", "count"),
    Column("retryable"),
    Column("example"),
    Column("words"),
    Column("next"),
)


@command(examples=("orchestrator errors labels", "orchestrator errors --json"))
@click.argument("job", required=False)
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="so many causes"
)
@click.pass_obj
def errors(session: Session, job: str | None, limit: int) -> None:
    """Group the failures of a job, or of the newest hundred, by cause.

    RECORDS have this as their outcome; the other ATTEMPTS were asked again.
    """
    from orchestrator.api.failing import failure_groups  # noqa: PLC0415 - help needs no database

    with reading(session) as registry:
        groups = failure_groups(registry, job, limit=limit)
    console = session.console
    if console.format == "table" and groups:
        for line in _lines(groups, console):
            console.say(line)
        return
    console.table("errors", map(_row, groups), _COLUMNS, empty="nothing has failed")


def _row(group: FailureGroup) -> Row:
    values = {name: getattr(group, name) for name in group.__dataclass_fields__}
    return {**values, "share": Share(group.records, group.of)}


def _lines(groups: list[FailureGroup], console: Console) -> Iterator[str]:
    for group in groups:
        share = human.percent(group.records, group.of)
        again = group.attempts - group.records
        cause = console.style(human.plain(group.cause), "bold")
        code = f" ({human.plain(group.code)})" if group.code not in {"", group.cause} else ""
        yield f"{cause}{code} in {human.plain(group.job)}"
        records = f"{human.plural(group.records, 'record')} failed ({share})"
        asked = human.plural(again, "further attempt")
        yield f"  count  {records}, {asked} asked again" if again else f"  count  {records}"
        if group.words:
            words = f'  why    "{human.plain(group.words)}"'
            yield human.fit(words, console.width, unicode=console.unicode)
        retry = "another try may succeed" if group.retryable else "the same again will not help"
        yield f"  again  {retry}"
        yield f"  such   {human.plain(group.example)}"
        if group.next:
            yield f"  next   {group.next}"
