"""`orchestrator batches`: every batch in a list, one of them in full."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from orchestrator import human
from orchestrator.cli.looking import day_prices_of, pages, reading
from orchestrator.cli.nouns import noun
from orchestrator.cli.options import after_option, limit_option, sort_option, where_option
from orchestrator.cli.session import Session
from orchestrator.cli.tables import Column, Row
from orchestrator.domain.filters import BATCH_FIELDS, Filter

if TYPE_CHECKING:
    from orchestrator.api.listing import EventView
    from orchestrator.api.views import BatchView
    from orchestrator.cli.output import Console
    from orchestrator.domain.model import Batch

_COLUMNS = (
    Column("batch", "id"),
    Column("state", "state"),
    Column("provider", shown=False),
    Column("model", shown=False),
    Column("requests", "count"),
    Column("bytes", "size", shown=False),
    Column("reported", "count"),
    Column("succeeded", "count"),
    Column("failed", "count"),
    Column("missing", "count", shown=False),
    Column("odd_lines", "count", shown=False),
    Column("remote_id", shown=False),
    Column("remote_status", header="REMOTE"),
    Column("cost", "money", shown=False),
    Column("state_at", "time", "SINCE"),
    Column("window_ends", "time", "WINDOW"),
    Column("looked_at", "time", shown=False),
    Column("waits_for", shown=False),
)


@noun(examples=("orchestrator batches labels", "orchestrator batches show labels/b07"))
def batches() -> None:
    """List batches, or show one in full."""


@batches.command(
    "list",
    examples=("orchestrator batches --where state:parked", "orchestrator batches labels --limit 0"),
)
@click.argument("job", required=False)
@where_option(BATCH_FIELDS)
@limit_option()
@after_option()
@sort_option(("newest", "oldest"))
@click.pass_obj
def list_(
    session: Session, job: str | None, where: Filter, limit: int, after: str | None, sort: str
) -> None:
    """List batches, of one job or of all, the newest first."""
    from orchestrator.api.listing import list_batches  # noqa: PLC0415 - help needs no database

    with reading(session) as registry:

        def page(last: BatchView | None, size: int) -> list[BatchView]:
            return list_batches(
                registry,
                where,
                now=session.console.now(),
                job=job,
                after=last.name if last else after,
                sort=sort,
                limit=size,
                prices=day_prices_of(session),
            )

        rows = (_row(view) for view in pages(limit, page))
        session.console.table("batches", rows, _COLUMNS, empty="no batch matches")


def _row(view: BatchView) -> Row:
    return {**view.to_dict(), "waits_for": view.waits_for.words, "cost": view.cost}


@batches.command("show", examples=("orchestrator batches show labels/b07",))
@click.argument("batch")
@click.pass_obj
def show(session: Session, batch: str) -> None:
    """Show one batch: phases with times, the provider's object, files, last and next look.

    BATCH is JOB/b07 or the provider's id.
    """
    from orchestrator.api.listing import batch_events  # noqa: PLC0415
    from orchestrator.api.lookup import find_batch  # noqa: PLC0415
    from orchestrator.api.views import batch_view  # noqa: PLC0415

    with reading(session) as registry:
        job, found = find_batch(registry, batch)
        prices = day_prices_of(session)
        view = batch_view(registry, job, found, now=session.console.now(), prices=prices)
        story = batch_events(registry, found)
    data = {
        **view.to_dict(),
        "deadline": found.deadline_at,
        "files": files_of(found),
        "phases": [{"event": e.kind, "at": e.at, "actor": e.actor} for e in story],
        "remote_object": remote_object(found),
    }

    def speak(console: Console) -> None:
        for line in _lines(view, story, console):
            console.say(line)

    session.console.document("batches.show", data, speak)


def files_of(batch: Batch) -> list[dict[str, object]]:
    """Return the batch's files: input, output, error, each with id, size and hash if known."""
    known = (
        ("input", batch.input_file_id, batch.bytes, batch.sha256),
        ("output", batch.output_file_id, batch.output_bytes, batch.output_sha256),
        ("error", batch.error_file_id, batch.error_bytes, batch.error_sha256),
    )
    return [
        {"file": name, "id": file_id, "bytes": size, "sha256": sha256}
        for name, file_id, size, sha256 in known
        if file_id or sha256
    ]


def remote_object(batch: Batch) -> Any:  # noqa: ANN401 - whatever JSON the provider sent
    """Return the provider's object as received; its text where that is no JSON."""
    if not batch.remote_raw:
        return None
    try:
        return json.loads(batch.remote_raw)
    except ValueError:
        return batch.remote_raw


def _lines(view: BatchView, story: Sequence[EventView], console: Console) -> Iterator[str]:
    batch, now, zone = view.batch, console.now(), console.zone()
    yield (
        f"{console.style(human.plain(view.name), 'bold')}  {console.state(batch.state.value)}   "
        f"{human.plural(batch.requests, 'request')}, {human.size(batch.bytes)}   "
        f"{human.plain(batch.model)} at {human.plain(batch.provider)}"
    )
    if batch.remote_id:
        yield (
            f' remote  {human.plain(batch.remote_id)}  "{human.plain(batch.remote_word or "")}"'
            f"   {view.reported:,} of {batch.requests:,} reported"
        )
    yield (
        f" recorded  {batch.cursor:,} of {batch.requests:,}: {batch.succeeded:,} succeeded,"
        f" {batch.failed:,} did not, {batch.missing:,} had no line, {batch.odd:,} odd lines"
    )
    yield f" waits for {human.plain(view.waits_for.words)}"
    yield from _times(view, now)
    yield " phases"
    before: datetime | None = None
    for event in story:
        after = f"after {human.duration(event.at - before)}" if before else ""
        moment = human.clock(event.at, now, zone)
        yield f"   {event.kind:<22}  {moment:<16}  {after}".rstrip()
        before = event.at
    yield " files"
    for file in files_of(batch):
        yield "   " + "  ".join(_file(file))
    if batch.remote_raw:
        yield " the provider's object, as received"
        yield f"   {human.plain(batch.remote_raw)}"


def _times(view: BatchView, now: datetime) -> Iterator[str]:
    batch = view.batch
    if batch.expires_at is not None:
        yield f" window ends {human.relative(batch.expires_at, now)}"
    looks = []
    if batch.looked_at is not None:
        looks.append(f"last look {human.relative(batch.looked_at, now)}")
    if view.waits_for.until is not None:
        looks.append(f"next {human.relative(view.waits_for.until, now)}")
    if looks:
        yield f" {', '.join(looks)}"


def _file(file: dict[str, object]) -> list[str]:
    size = file["bytes"]
    return [
        f"{file['file']:<6}",
        human.plain(str(file["id"] or "not at the provider any more")),
        human.size(size) if isinstance(size, int) else "-",
        f"sha256 {file['sha256'] or '-'}",
    ]
