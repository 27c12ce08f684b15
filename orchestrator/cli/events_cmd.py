"""`orchestrator events`: who moved what, when, why; and the same as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from orchestrator import human
from orchestrator.cli.command import command
from orchestrator.cli.looking import pages, reading
from orchestrator.cli.options import limit_option, sort_option, where_option
from orchestrator.cli.session import Session
from orchestrator.cli.tables import Column, Row, to_json
from orchestrator.domain.filters import EVENT_FIELDS, Filter

if TYPE_CHECKING:
    from orchestrator.api.listing import EventView
    from orchestrator.registry.session import Registry

_COLUMNS = (
    Column("id", "id"),
    Column("at", "clock"),
    Column("event"),
    Column("job"),
    Column("batch"),
    Column("provider", shown=False),
    Column("actor"),
    Column("data"),
)
_EVERY_SECONDS = 1.0
_FIRST_SHOWN = 10
_AT_ONCE = 500


@command(
    examples=(
        "orchestrator events labels",
        "orchestrator events --where event:parked,gate_closed",
        "orchestrator events --follow",
    )
)
@click.argument("job", required=False)
@where_option(EVENT_FIELDS)
@limit_option()
@click.option("--after", type=click.IntRange(0), metavar="ID", help="go on behind this event")
@sort_option(("newest", "oldest"))
@click.option("-f", "--follow", "following", is_flag=True, help="show what happens from now on")
@click.pass_obj
def events(
    session: Session,
    job: str | None,
    where: Filter,
    limit: int,
    after: int | None,
    sort: str,
    following: bool,
) -> None:
    """Show the audit trail of a job, or of all: who moved what, when and why."""
    from orchestrator.api.listing import list_events  # noqa: PLC0415 - help needs no database

    with reading(session) as registry:
        if following:
            follow(session, registry, where, job=job, after=after, wait=_wait)
            return

        def page(last: EventView | None, size: int) -> list[EventView]:
            behind = last.id if last else after
            return list_events(registry, where, job=job, after=behind, sort=sort, limit=size)

        rows = (_row(session, event) for event in pages(limit, page))
        session.console.table("events", rows, _COLUMNS, empty="no event matches")


def _wait() -> bool:
    time.sleep(_EVERY_SECONDS)
    return True


def follow(
    session: Session,
    registry: Registry,
    where: Filter,
    *,
    job: str | None,
    after: int | None,
    wait: Callable[[], bool],
) -> None:
    """Write events as they come, oldest first, until `wait` says no.

    Begins behind the event `after`, else with the latest ten.
    """
    from orchestrator.api.listing import list_events  # noqa: PLC0415

    if after is None:
        found = list_events(registry, where, job=job, limit=_FIRST_SHOWN)[::-1]
    else:
        found = list_events(registry, where, job=job, after=after, sort="oldest", limit=_AT_ONCE)
    last = after or 0
    while True:
        for event in found:
            session.console.event("events.follow", event.to_dict(), _line(session, event))
            last = event.id
        if len(found) < _AT_ONCE and not wait():
            return
        found = list_events(registry, where, job=job, after=last, sort="oldest", limit=_AT_ONCE)


def _row(session: Session, event: EventView) -> Row:
    row = event.to_dict()
    if session.console.format == "table":
        row["data"] = ", ".join(f"{name} {value}" for name, value in event.data.items())
    return row


def _line(session: Session, event: EventView) -> str:
    console = session.console
    subject = event.batch or event.job or event.provider or "-"
    fields = (event.kind, subject, event.actor, to_json(event.data))
    if console.tty:
        moment = human.clock(event.at, console.now(), console.zone())
        return "  ".join((moment, *(human.plain(field) for field in fields)))
    return "\t".join((human.rfc3339(event.at), *(human.plain(field) for field in fields)))
