"""From a job's sink, as it is declared, to what takes its outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from orchestrator.domain.delivering import kind_of, placed
from orchestrator.domain.model import Delivery, Job
from orchestrator.domain.spec import JobSpec, SinkSpec
from orchestrator.engine.checking_sinks import key_of, location_of_source
from orchestrator.engine.context import Context
from orchestrator.engine.outcome_rows import header
from orchestrator.engine.source_columns import declared_columns, source_columns, typed_columns
from orchestrator.engine.writing_back import usual_columns
from orchestrator.sinks.chunks import ChunkSink
from orchestrator.sinks.formats import format_of
from orchestrator.sinks.plugins import PluginSink
from orchestrator.sinks.port import Header
from orchestrator.sinks.row_values import RowValues
from orchestrator.sinks.source_table import SourceTable
from orchestrator.sinks.sql import SqlSink
from orchestrator.sinks.sql_target import Target
from orchestrator.sinks.stream_files import LINES, AppendedFile, PartFiles
from orchestrator.sinks.webhook import Address, Webhook


def open_chunks(ctx: Context, job: Job, delivery: Delivery, sink: SinkSpec) -> ChunkSink:
    """Return what takes the outcomes of `job`. Raises SinkError, ConfigError."""
    return _OPENERS[kind_of(sink)](ctx, job, delivery, sink)


def header_for(ctx: Context, job: Job, *, typed: bool) -> Header:
    """Return the columns of a job's outcomes: of an untyped source, as its records show them.

    `typed`: each with a type. What records show is looked up once a process and job.
    """
    if declared_columns(job) is not None:
        return header(job)
    key = job.id, typed
    known = ctx.columns.get(key)
    if known is None or job.growing:
        known = (typed_columns if typed else source_columns)(ctx.registry, job)
        ctx.columns[key] = known
    return header(job, known)


def file_of(job: Job, sink: SinkSpec) -> tuple[str, str]:
    """Return where the file of a sink is, and its format."""
    location = placed(sink.location, job.name)
    return location, format_of(location, None if sink.format == "auto" else sink.format)


def _file(ctx: Context, job: Job, delivery: Delivery, sink: SinkSpec) -> ChunkSink:
    location, kind = file_of(job, sink)
    path = Path(location)
    columns, raw = header_for(ctx, job, typed=kind not in LINES), bool(sink.options.get("raw"))
    if kind in LINES:
        return AppendedFile(path, kind, columns, raw=raw, memo=delivery.memo)
    after = delivery.after_stamp, delivery.after_id
    return PartFiles(path, kind, columns, raw=raw, after=after)


def _sql(ctx: Context, job: Job, delivery: Delivery, sink: SinkSpec) -> ChunkSink:
    spec = ctx.spec_of(job)
    target = _target(spec, sink, str(sink.options["table"]), sink.options.get("columns", ()))
    engine = ctx.connections.get(sink.location.removeprefix("sql:"))
    mark = f"{ctx.instance}/{delivery.id}"
    return SqlSink(engine, target, RowValues(header_for(ctx, job, typed=True)), mark=mark)


def _source(ctx: Context, job: Job, _delivery: Delivery, sink: SinkSpec) -> ChunkSink:
    spec = ctx.spec_of(job)
    connection, table = location_of_source(spec, sink)
    columns = header_for(ctx, job, typed=True)
    names = sink.options.get("columns") or usual_columns(columns)
    target = _target(spec, sink, table, names, add_columns=True)
    return SourceTable(ctx.connections.get(connection), target, RowValues(columns))


def _target(
    spec: JobSpec,
    sink: SinkSpec,
    table: str,
    columns: Sequence[str],
    *,
    add_columns: bool = False,
) -> Target:
    options = sink.options
    return Target(
        table=table,
        mode=options.get("mode", "merge"),
        key=key_of(spec, sink),
        columns=(columns,) if isinstance(columns, str) else tuple(columns),
        rename=options.get("rename"),
        add_columns=add_columns or bool(options.get("add_columns")),
        nul="\ufffd" if options.get("replace_nul") else "",
    )


def _webhook(ctx: Context, job: Job, delivery: Delivery, sink: SinkSpec) -> ChunkSink:
    options, name = sink.options, delivery.name
    reference = options.get("url")
    secret = options.get("secret")
    address = Address(
        name=name,
        url=ctx.secret(reference, f"the address of {name}") if reference else sink.location,
        secret=ctx.secret(secret, f"the secret of {name}") if secret else None,
        per=options.get("per", "chunk"),
        size=int(options.get("size", 100)),
        timeout=float(options.get("timeout", 30)),
        allow_private=bool(options.get("allow_private")),
    )
    return Webhook(address, header_for(ctx, job, typed=False), job=job.name, now=ctx.now)


def _use(ctx: Context, job: Job, delivery: Delivery, sink: SinkSpec) -> ChunkSink:
    options = {name: value for name, value in sink.options.items() if name != "name"}
    name = sink.location.removeprefix("use:")
    return PluginSink(
        name, options, RowValues(header_for(ctx, job, typed=True)), memo=delivery.memo
    )


_OPENERS: Mapping[str, Callable[[Context, Job, Delivery, SinkSpec], ChunkSink]] = {
    "file": _file,
    "sql": _sql,
    "source": _source,
    "webhook": _webhook,
    "use": _use,
}
