"""`orchestrator quarantine`: the odd lines of result files, in a list or one of them whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator import human
from orchestrator.cli.command import command
from orchestrator.cli.looking import pages, reading
from orchestrator.cli.options import limit_option
from orchestrator.cli.session import Session
from orchestrator.cli.tables import Column, Row
from orchestrator.domain.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.output import Console
    from orchestrator.registry.quarantine import OddLine

_COLUMNS = (
    Column("id", "id"),
    Column("batch"),
    Column("file"),
    Column("line", "count"),
    Column("length", "size", header="SIZE"),
    Column("reason"),
    Column("head"),
    Column("job", shown=False),
    Column("provider", shown=False),
    Column("recorded_at", "clock", header="RECORDED", shown=False),
)


@command(
    examples=(
        "orchestrator quarantine labels",
        "orchestrator quarantine labels/b07",
        "orchestrator quarantine --show 12",
    )
)
@click.argument("subject", metavar="JOB|JOB/b07", required=False)
@click.option("--show", "shown", type=click.IntRange(1), metavar="ID", help="one line, whole")
@limit_option()
@click.option("--after", type=click.IntRange(0), metavar="ID", help="go on behind this line")
@click.pass_obj
def quarantine(
    session: Session, subject: str | None, shown: int | None, limit: int, after: int | None
) -> None:
    """List the odd lines of result files: where each stood, why it is odd, how it begins.

    Odd is what no request could take: no JSON, an id that nobody asked for, a second answer. The
    rest of the file was recorded as always. --show writes what a line holds, which may be prompts
    and answers.
    """
    if shown is not None:
        if subject is not None:
            raise UsageError(
                "--show takes the id of a line, and no JOB",
                next=f"orchestrator quarantine --show {shown}",
            )
        _show(session, shown)
        return
    from orchestrator.api.quarantine import odd_lines  # noqa: PLC0415 - help needs no database

    with reading(session) as registry:

        def page(last: OddLine | None, size: int) -> list[OddLine]:
            behind = last.id if last else after or 0
            return odd_lines(registry, subject, after=behind, limit=size)

        rows = map(_row, pages(limit, page))
        session.console.table("quarantine", rows, _COLUMNS, empty="no odd line is kept")


def _row(odd: OddLine) -> Row:
    return {
        "id": odd.id,
        "batch": _batch(odd),
        "file": odd.source,
        "line": odd.line,
        "length": odd.length,
        "reason": odd.reason,
        "head": _text(odd.raw),
        "job": odd.job,
        "provider": odd.provider,
        "recorded_at": odd.recorded_at,
    }


def _batch(odd: OddLine) -> str:
    return f"{odd.job}/b{odd.number:02d}"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _show(session: Session, odd_id: int) -> None:
    from orchestrator.api.quarantine import odd_line  # noqa: PLC0415 - help needs no database

    with reading(session) as registry:
        odd = odd_line(registry, odd_id)
    values = dict(_row(odd))
    del values["head"]
    data = {**values, "kept": len(odd.raw), "raw": _text(odd.raw)}

    def speak(console: Console) -> None:
        name = console.style(f"odd line {odd.id}", "bold")
        console.say(f"{name}  {_batch(odd)}, {odd.source} file, line {odd.line:,}")
        console.say(f" why    {human.plain(odd.reason)}")
        console.say(f" size   {human.size(odd.length)}, {human.size(len(odd.raw))} kept")
        console.say(f" line   {human.plain(_text(odd.raw))}")

    session.console.document("quarantine.show", data, speak)
