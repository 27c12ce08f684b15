"""`orchestrator jobs`: every job in a list, one of them in full."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.job_lines import job_lines
from orchestrator.cli.looking import pages, prices_of, reading
from orchestrator.cli.nouns import noun
from orchestrator.cli.options import after_option, limit_option, sort_option, where_option
from orchestrator.cli.session import Session
from orchestrator.cli.tables import Column, Row, Share
from orchestrator.domain.filters import JOB_FIELDS, Filter

if TYPE_CHECKING:
    from orchestrator.api.views import JobView
    from orchestrator.cli.output import Console
    from orchestrator.registry.session import Registry

_COLUMNS = (
    Column("job", "id"),
    Column("state", "state"),
    Column("provider", shown=False),
    Column("records", "count"),
    Column("recorded", "share"),
    Column("succeeded", "count", shown=False),
    Column("failed", "count"),
    Column("expired", "count", shown=False),
    Column("cancelled", "count", shown=False),
    Column("open", "count", shown=False),
    Column("cost", "money"),
    Column("submitted_at", "time", "SUBMITTED"),
    Column("finished_at", "time", shown=False),
    Column("waits_for"),
)


@noun(examples=("orchestrator jobs --where state:running", "orchestrator jobs show labels"))
def jobs() -> None:
    """List jobs, or show one in full."""


@jobs.command(
    "list", examples=("orchestrator jobs --where 'failed>0 since:7d'", "orchestrator jobs --json")
)
@where_option(JOB_FIELDS)
@limit_option()
@after_option()
@sort_option(("newest", "oldest", "name"))
@click.pass_obj
def list_(session: Session, where: Filter, limit: int, after: str | None, sort: str) -> None:
    """List jobs, the newest first."""
    from orchestrator.api.listing import list_jobs  # noqa: PLC0415 - help needs no database

    with reading(session) as registry:

        def page(last: JobView | None, size: int) -> list[JobView]:
            return list_jobs(
                registry,
                where,
                now=session.console.now(),
                after=last.job.name if last else after,
                sort=sort,
                limit=size,
                prices=prices_of(session),
            )

        rows = (_row(view) for view in pages(limit, page))
        session.console.table("jobs", rows, _COLUMNS, empty="no job matches")
        if not where and after is None:
            _tell_of_stages(session, registry)


def _tell_of_stages(session: Session, registry: Registry) -> None:
    """Say on a terminal which stages of workflows have no job yet; programs ask `status`."""
    from orchestrator.api.stage_views import unfed  # noqa: PLC0415 - help needs no database

    if session.console.tty:
        for view in unfed(registry):
            if not view.begun:
                session.console.say(f"stage {view.stage.name}: {view.words}")


def _row(view: JobView) -> Row:
    job, books = view.job, view.books
    return {
        "job": job.name,
        "state": view.state,
        "provider": job.provider,
        "records": books.records,
        "recorded": Share(books.recorded, books.records),
        "succeeded": books.succeeded,
        "failed": books.failed,
        "expired": books.expired,
        "cancelled": books.cancelled,
        "open": books.open,
        "cost": view.costs.so_far,
        "submitted_at": job.created_at,
        "finished_at": job.finished_at,
        "waits_for": view.waits_for.words,
    }


@jobs.command("show", examples=("orchestrator jobs show labels", "orchestrator jobs show @last"))
@click.argument("job")
@click.pass_obj
def show(session: Session, job: str) -> None:
    """Show one job: its books, what is open, what it waits for, when it may end, its cost."""
    from orchestrator.api.lookup import find_job  # noqa: PLC0415
    from orchestrator.api.views import job_view  # noqa: PLC0415

    with reading(session) as registry:
        found = find_job(registry, job)
        view = job_view(registry, found, now=session.console.now(), prices=prices_of(session))

    def speak(console: Console) -> None:
        for line in job_lines(view, console):
            console.say(line)

    session.console.document("jobs.show", view.to_dict(), speak)
