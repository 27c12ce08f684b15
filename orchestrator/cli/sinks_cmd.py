"""`orchestrator sinks`: where outcomes go by themselves. `deliver`: a sink more, or once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.command import command
from orchestrator.cli.looking import reading
from orchestrator.cli.nouns import noun
from orchestrator.cli.options import dry_run_option, limit_option
from orchestrator.cli.session import Session
from orchestrator.cli.tables import Column, Row

if TYPE_CHECKING:
    from orchestrator.api.sink_views import SinkView

_COLUMNS = (
    Column("job", "id"),
    Column("sink", "id"),
    Column("state", "state"),
    Column("rows", "count"),
    Column("recorded", "count"),
    Column("stream", shown=False),
    Column("code", shown=False),
    Column("next_try", "time"),
    Column("finished_at", "time", shown=False),
    Column("reason"),
    Column("next", shown=False),
)


@noun(examples=("orchestrator sinks", "orchestrator sinks labels"))
def sinks() -> None:
    """List the sinks that outcomes go to by themselves."""


@sinks.command("list", examples=("orchestrator sinks labels", "orchestrator sinks --json"))
@click.argument("job", required=False)
@limit_option()
@click.pass_obj
def list_(session: Session, job: str | None, limit: int) -> None:
    """List sinks, of one job or of all: how far each is, and why it does not go on."""
    from orchestrator.api.lookup import find_job  # noqa: PLC0415 - help needs no database
    from orchestrator.api.sink_views import list_sinks  # noqa: PLC0415

    with reading(session) as registry:
        found = find_job(registry, job) if job is not None else None
        views = list_sinks(registry, found, limit=limit or 1_000_000)
        rows = (_row(view) for _, view in views)
        session.console.table("sinks", rows, _COLUMNS, empty="no job has a sink")


def _row(view: SinkView) -> Row:
    return dict(view.to_dict())


@command(
    examples=(
        "orchestrator deliver labels --sink sql:warehouse/tags",
        "orchestrator deliver labels --sink out/labels.jsonl --again",
    )
)
@click.argument("job", metavar="JOB")
@click.option(
    "--sink", "place", required=True, metavar="SINK", help="one of the job's, or a new one"
)
@click.option("--stream", is_flag=True, help="a new one gets outcomes as they come")
@click.option("--again", is_flag=True, help="from the first outcome on, not where it stopped")
@dry_run_option()
@click.pass_obj
def deliver(
    session: Session, /, job: str, place: str, stream: bool, again: bool, dry_run: bool
) -> None:
    """Pass a job's outcomes on to a sink: add one later, or run one again.

    SINK is a FILE, sql:CONNECTION/TABLE, source, use:NAME, an https:// address, or a name that
    orchestrator sinks shows. One that the job has keeps its options unless SINK gives some, which
    then take their place. Whoever works on the registry does it: daemon, watch or tick.
    """
    from orchestrator.api.delivering import deliver as set_going  # noqa: PLC0415 - help needs none
    from orchestrator.api.delivering import known_sink  # noqa: PLC0415
    from orchestrator.api.lookup import find_job  # noqa: PLC0415
    from orchestrator.app import App  # noqa: PLC0415
    from orchestrator.cli.sink_options import named_sink  # noqa: PLC0415

    with App(session.configuration) as app:
        found = find_job(app.reading(), job)
        sink = known_sink(app.registry, found, place) or named_sink(session, place, stream=stream)
        done = set_going(app.context(), found.name, sink, again=again, dry_run=dry_run)
    verb = "would deliver" if dry_run else "delivers"
    how = "from the first outcome on" if done.again or done.added else "from where it stopped"
    text = f"{verb} job {done.job} to {done.sink}, {how}; see: orchestrator sinks {done.job}"
    data = {"job": done.job, "sink": done.sink, "added": done.added, "again": done.again}
    session.console.result("deliver", text, {**data, "dry_run": dry_run})
