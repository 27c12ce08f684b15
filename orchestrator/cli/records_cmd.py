"""`orchestrator records`: records in a list, one of them from its source row to its outcome."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from orchestrator import human
from orchestrator.cli.looking import day_prices_of, pages, reading
from orchestrator.cli.nouns import noun
from orchestrator.cli.options import after_option, limit_option, sort_option, where_option
from orchestrator.cli.session import Session
from orchestrator.cli.tables import Column, Row
from orchestrator.domain.filters import RECORD_FIELDS, Filter

if TYPE_CHECKING:
    from orchestrator.api.records import Attempt, RecordTrace
    from orchestrator.cli.output import Console
    from orchestrator.registry.outcomes import Listed

_COLUMNS = (
    Column("key", "id"),
    Column("job"),
    Column("state", "state"),
    Column("batch"),
    Column("attempts", "count"),
    Column("cause"),
    Column("message"),
    Column("model", shown=False),
    Column("tokens_in", "count", shown=False),
    Column("tokens_out", "count", shown=False),
    Column("recorded_at", "time", "RECORDED"),
    Column("id", shown=False),
)
_SHOWN_STATES = {"pending": "waiting", "assigned": "in_flight"}


@noun(
    examples=(
        "orchestrator records labels --where 'state:failed attempts>2'",
        "orchestrator records show page-88121 --job labels",
    )
)
def records() -> None:
    """List records, or trace one from its source row to its outcome."""


@records.command(
    "list",
    examples=(
        "orchestrator records labels --where state:failed --format id",
        "orchestrator records --where '\"content filter\" since:2h'",
    ),
)
@click.argument("job", required=False)
@where_option(RECORD_FIELDS)
@limit_option()
@after_option()
@sort_option(("source", "last"))
@click.pass_obj
def list_(
    session: Session, job: str | None, where: Filter, limit: int, after: str | None, sort: str
) -> None:
    """List records of a job, or of all, in source order.

    --after takes a key of that job, or the id that --json shows.
    """
    from orchestrator.api.listing import list_records  # noqa: PLC0415 - help needs no database

    with reading(session) as registry:

        def page(last: Listed | None, size: int) -> list[Listed]:
            behind = str(last.id) if last else after
            return list_records(registry, where, job=job, after=behind, sort=sort, limit=size)

        rows = (_row(record) for record in pages(limit, page))
        session.console.table("records", rows, _COLUMNS, empty="no record matches")


def _row(record: Listed) -> Row:
    values = record._asdict()
    values["state"] = _SHOWN_STATES.get(record.state, record.state)
    values["batch"] = f"b{record.batch:02d}" if record.batch is not None else None
    return values


@records.command("show", examples=("orchestrator records show page-88121 --job labels",))
@click.argument("key")
@click.option("--job", metavar="JOB", help="where several jobs have this key")
@click.pass_obj
def show(session: Session, key: str, job: str | None) -> None:
    """Trace one record: source row, request, every attempt with file and line, outcome."""
    from orchestrator.api.lookup import find_record  # noqa: PLC0415
    from orchestrator.api.records import trace_record  # noqa: PLC0415

    with reading(session) as registry:
        found = find_record(registry, key, job)
        trace = trace_record(registry, found, prices=day_prices_of(session))

    def speak(console: Console) -> None:
        for line in _lines(trace, console):
            console.say(line)

    session.console.document("records.show", trace.to_dict(), speak)


def _lines(trace: RecordTrace, console: Console) -> Iterator[str]:
    state = _SHOWN_STATES.get(trace.state, trace.state)
    key = console.style(human.plain(trace.key), "bold")
    yield f"{key} of {human.plain(trace.job)}  {console.state(state)}   {human.plain(trace.model)}"
    yield f" source    {human.plain(trace.place)}"
    yield f"   {human.plain(trace.row)}"
    yield f" request   custom_id {human.plain(trace.custom_id)}"
    yield f"   {human.plain(trace.request)}"
    if trace.cost is not None:
        yield f" cost      {trace.cost.amount.normalize():f} {trace.cost.currency}"
    if trace.repair is not None:
        yield " repair    sent in its place after an answer that did not fit"
        yield f"   {human.plain(trace.repair)}"
    if trace.equal_to:
        yield f" {_equal_words(trace, console)}"
    elif not trace.attempts:
        yield " no attempt yet: it waits for a batch"
    for number, attempt in enumerate(trace.attempts, start=1):
        yield from _attempt(number, attempt, console)


def _equal_words(trace: RecordTrace, console: Console) -> str:
    """Say which record was asked for this one too, and how long ago it was answered."""
    equal = trace.equal_to
    assert equal is not None  # noqa: S101 - asked before
    of = f"the request of record {human.plain(equal.key)}"
    if equal.job != trace.job:
        of += f" of job {human.plain(equal.job)}"
    if equal.answered_at is not None:
        return f"answered by {of}, {human.relative(equal.answered_at, console.now())}"
    return f"waits for {of}" if trace.state == "pending" else f"closed with {of}"


def _attempt(number: int, attempt: Attempt, console: Console) -> Iterator[str]:
    remote = f" ({human.plain(attempt.remote_id)})" if attempt.remote_id else ""
    again = "" if attempt.final or attempt.recorded_at is None else ", asked again"
    word = human.plain(attempt.word)
    yield f" attempt {number}   {human.plain(attempt.batch)}{remote}   {word}{again}"
    if attempt.source:
        file = human.plain(attempt.file or "removed at the provider")
        yield f"   {attempt.source} file {file}, line {attempt.line:,}"
    facts = list(_facts(attempt, console))
    if facts:
        yield f"   {'   '.join(facts)}"
    if attempt.code or attempt.message:
        code = f"{human.plain(attempt.code)}: " if attempt.code else ""
        yield f'   {code}"{human.plain(attempt.message)}"'
    if attempt.body:
        yield f"   {human.plain(attempt.body)}"


def _facts(attempt: Attempt, console: Console) -> Iterator[str]:
    if attempt.status_code is not None:
        yield f"status {attempt.status_code}"
    if attempt.tokens_in is not None or attempt.tokens_out is not None:
        yield f"{attempt.tokens_in or 0:,} tokens in, {attempt.tokens_out or 0:,} out"
    if attempt.latency is not None:
        yield f"after {human.duration(timedelta(seconds=attempt.latency))}"
    if attempt.recorded_at is not None:
        yield f"recorded {human.clock(attempt.recorded_at, console.now(), console.zone())}"
