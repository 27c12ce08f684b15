"""`orchestrator export`: one row a record, in source order, with its outcome."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

import click

from orchestrator import human
from orchestrator.cli.command import command
from orchestrator.cli.looking import prices_of, reading
from orchestrator.cli.options import where_option
from orchestrator.cli.session import Session
from orchestrator.domain.errors import UsageError
from orchestrator.domain.filters import RECORD_FIELDS, Filter

if TYPE_CHECKING:
    from orchestrator.api.exporting import Exported
    from orchestrator.domain.model import Job
    from orchestrator.sinks.files import Output
    from orchestrator.sinks.folders import OutputFolder

STDOUT = "-"
_TELL_EVERY = 2.0


@command(
    examples=(
        "orchestrator export labels -o labels.jsonl",
        "orchestrator export labels -o labels.parquet",
        "orchestrator export labels -o s3://bucket/labels.parquet",
        "orchestrator export labels -o failed.csv --where state:failed",
        "orchestrator export @last -o - | jq -r .text",
    )
)
@click.argument("job")
@click.option(
    "-o",
    "--output",
    "target",
    required=True,
    metavar="FILE|DIR/|URL|-",
    help="a file, a folder of parts, s3:// gs:// az://, or - for stdout",
)
@click.option(
    "--format",
    "kind",
    metavar="FORMAT",
    help="jsonl, csv, tsv, parquet, arrow, feather or xlsx; else by the file's ending",
)
@where_option(RECORD_FIELDS)
@click.option("--follow", is_flag=True, help="wait for the job's end, as watch does, then write")
@click.option("--raw", is_flag=True, help="CSV, Excel: leave text that would be a formula")
@click.pass_obj
def export(
    session: Session,
    job: str,
    target: str,
    kind: str | None,
    where: Filter,
    follow: bool,
    raw: bool,
) -> int | None:
    """Write the outcomes of a job: source columns, then outcome, text, tokens, cost, error.

    Records without an outcome have the outcome "open". A file appears whole, or not at all.
    Parquet, Arrow, Feather and Excel have the source's types.
    """
    from orchestrator.api import exporting, lookup  # noqa: PLC0415 - help needs no database
    from orchestrator.sinks.formats import asked_format  # noqa: PLC0415
    from orchestrator.sinks.places import is_folder  # noqa: PLC0415

    console = session.console
    if target == STDOUT and console.machine:
        raise UsageError("-o - and --json both want stdout", next="name a file: -o outcomes.jsonl")
    parts = target != STDOUT and is_folder(target, session.world.cwd)
    form = asked_format(f"{target}/" if parts else target, kind)
    if follow and (cut_off := _wait_for_the_end(session, job)) is not None:
        return cut_off
    with reading(session) as registry:
        found = lookup.find_job(registry, job)
        done = exporting.export(
            registry,
            found,
            _output(session, target, form),
            kind=form,
            where=where,
            raw=raw,
            prices=prices_of(session),
            on_progress=_Progress(session, found.books.records),
        )
    _say(session, found, target, form, done)
    return None


def _wait_for_the_end(session: Session, name: str) -> int | None:
    """Follow a job to its end, working where nobody does; the exit status if a signal came."""
    from orchestrator.api.lookup import find_job  # noqa: PLC0415 - only --follow works
    from orchestrator.app import App  # noqa: PLC0415
    from orchestrator.cli.logs import log_of  # noqa: PLC0415
    from orchestrator.domain.transitions import JOB_FINAL  # noqa: PLC0415
    from orchestrator.service.following import follow  # noqa: PLC0415
    from orchestrator.service.signals import Signals  # noqa: PLC0415

    log = log_of(session, quiet=not session.output.verbose)
    with Signals() as signals, App(session.configuration, tell=log.told) as app:
        job = find_job(app.reading(), name)

        def has_ended(_working: bool) -> bool:
            return find_job(app.registry, job.name).state in JOB_FINAL

        ended = follow(app, signals, log, look=has_ended)
        return None if ended else signals.exit_status


def _output(session: Session, target: str, form: str) -> Output | OutputFolder:
    from orchestrator.sinks.files import OutputStream  # noqa: PLC0415
    from orchestrator.sinks.places import open_place  # noqa: PLC0415

    if target != STDOUT:
        return open_place(target, form, session.world.cwd)
    stream: TextIO = session.world.stdout
    stream.flush()
    below = getattr(stream, "buffer", None)
    if below is not None:
        return OutputStream(below.write, below.flush)
    return OutputStream(lambda data: stream.write(data.decode()), stream.flush)


class _Progress:
    """Tells on a terminal how far the export is, every two seconds."""

    def __init__(self, session: Session, total: int) -> None:
        self._console = session.console
        self._total = total
        self._next = time.monotonic() + _TELL_EVERY

    def __call__(self, rows: int, looked_at: int) -> None:
        if self._console.interactive and time.monotonic() >= self._next:
            self._next = time.monotonic() + _TELL_EVERY
            share = human.percent(looked_at, self._total)
            self._console.note(f"{rows:,} rows written, {share} of the records looked at")


def _say(session: Session, job: Job, target: str, form: str, done: Exported) -> None:
    from orchestrator.api.verifying import can_be_verified  # noqa: PLC0415 - only at the end

    console = session.console
    for old, new in done.renamed:
        console.note(f'the source has a column "{old}": the outcome\'s is called "{new}"')
    if done.open:
        console.note(f"{human.plural(done.open, 'record')} still open: export again when they end")
    if target == STDOUT:
        return
    data = {
        "job": job.name,
        "file": target,
        "format": form,
        "rows": done.rows,
        "records": job.books.records,
        "open": done.open,
        "renamed": dict(done.renamed),
        "currency": done.currency or None,
    }
    money = f", cost in {done.currency}" if done.currency else ""
    text = f"wrote {human.plural(done.rows, 'row')} to {human.plain(target)}{money}"
    check = f"; check it: orchestrator verify {job.name} --export {human.plain(target)}"
    checked = done.rows == job.books.records and can_be_verified(target, form, session.world.cwd)
    console.result("export", text + (check if checked else ""), data, piped=target)
