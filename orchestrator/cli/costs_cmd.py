"""`orchestrator costs`: what was spent, by job, model, day, provider or kind."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import click

from orchestrator import human
from orchestrator.cli.command import command
from orchestrator.cli.looking import day_prices_of, reading
from orchestrator.cli.session import Session
from orchestrator.cli.tables import Column
from orchestrator.domain.errors import UsageError
from orchestrator.domain.units import parse_duration

if TYPE_CHECKING:
    from orchestrator.api.costing import By, CostLine

_BYS = ("job", "model", "day", "provider", "kind")


@command(
    examples=(
        "orchestrator costs",
        "orchestrator costs --by day --since 30d",
        "orchestrator --format csv costs --by model --job reviews",
    )
)
@click.option(
    "--by", type=click.Choice(_BYS), default="job", show_default=True, help="what a line is of"
)
@click.option("--since", metavar="DAY|AGE", help="from a day (UTC) on, 2026-09-01, or an age, 30d")
@click.option("--job", metavar="JOB", help="of one job only")
@click.pass_obj
def costs(session: Session, by: By, since: str | None, job: str | None) -> None:
    """Show what was spent: estimated, actual, wasted, and saved against the online price.

    ESTIMATED takes every answer at its longest. WASTED is the part of COST that brought no answer
    that counts. Currencies are never added to each other.
    """
    from orchestrator.api.costing import cost_lines, totals  # noqa: PLC0415 - help needs none of it

    console = session.console
    with reading(session) as registry:
        lines = cost_lines(
            registry, by=by, since=_day(session, since), job=job, prices=day_prices_of(session)
        )
    rows = (line.to_row() for line in lines)
    console.table("costs", rows, _columns(by), empty="nothing was spent")
    if console.format == "table" and len(lines) > 1:
        for whole in totals(lines):
            console.say(_total(whole))


def _columns(by: str) -> tuple[Column, ...]:
    return (
        Column("name", "id", by.upper()),
        Column("requests", "count"),
        Column("unpriced", "count", shown=False),
        Column("tokens_in", "count"),
        Column("tokens_out", "count"),
        Column("tokens_cached", "count", "CACHED"),
        Column("estimated", "money"),
        Column("cost", "money"),
        Column("wasted", "money"),
        Column("saved", "money"),
        Column("currency", shown=False),
    )


def _day(session: Session, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        pass
    try:
        return (session.console.now() - parse_duration(text)).date()
    except ValueError as exc:
        raise UsageError(
            f"--since {text[:40]} is neither a day nor an age",
            why=str(exc),
            next="--since 2026-09-01, or --since 30d",
        ) from None


def _total(line: CostLine) -> str:
    def said(amount: int) -> str:
        found = line.money(amount)
        return human.money(found.amount, found.currency) if found else "-"

    saved = said(line.online - line.amount)
    return f"in all {said(line.amount)}, wasted {said(line.wasted)}, saved {saved}"
