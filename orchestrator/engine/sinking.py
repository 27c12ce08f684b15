"""From a job's sink, as it is declared, to what takes its outcomes; and what is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from orchestrator.domain.delivering import delivery_name, kind_of
from orchestrator.domain.errors import SinkError
from orchestrator.domain.model import Delivery, Job
from orchestrator.domain.spec import JobSpec, SinkSpec
from orchestrator.engine.context import Context
from orchestrator.engine.outcome_rows import header
from orchestrator.engine.source_columns import declared_columns, source_columns
from orchestrator.sinks.chunks import ChunkSink
from orchestrator.sinks.port import Header
from orchestrator.sinks.row_values import RowValues

BAD_SINK = "ORC6025"

_COMMON = frozenset({"name"})
_OPTIONS: Mapping[str, frozenset[str]] = {
    "file": frozenset({"raw"}),
    "sql": frozenset({"table", "mode", "key", "columns", "rename", "add_columns", "replace_nul"}),
}
MODES = ("merge", "append")


def check_sinks(spec: JobSpec) -> None:
    """Refuse sinks that can't work, before anything is registered. Raises SinkError."""
    names: set[str] = set()
    for sink in spec.sinks:
        check_sink(spec, sink)
        name = delivery_name(sink, spec.name)
        if name in names:
            raise bad_sink(name, "two sinks of the job have this name", "give one the option name")
        names.add(name)


def check_sink(spec: JobSpec, sink: SinkSpec) -> None:
    """Refuse a sink that can't work. Raises SinkError (ORC6025)."""
    kind, name = kind_of(sink), delivery_name(sink, spec.name)
    if kind in _OPTIONS:
        _check_options(sink, name, _OPTIONS[kind] | _COMMON)
    if kind == "sql":
        _check_sql(spec, sink, name)


def _check_options(sink: SinkSpec, name: str, known: frozenset[str]) -> None:
    for option in sink.options.keys() - known:
        near = difflib.get_close_matches(option, known, n=1)
        hint = f', did you mean "{near[0]}"?' if near else ""
        takes = ", ".join(sorted(known))
        raise bad_sink(name, f'it has no option "{option[:60]}"{hint}', f"it takes {takes}")


def bad_sink(name: str, why: str, next_: str) -> SinkError:
    """Return the refusal of a sink as it is declared."""
    return SinkError(
        f"the sink {name} can't be used",
        code=BAD_SINK,
        why=why,
        safe="nothing was registered, nothing was sent",
        next=next_,
    )


def _check_sql(spec: JobSpec, sink: SinkSpec, name: str) -> None:
    options = sink.options
    if not isinstance(options.get("table"), str) or not options["table"]:
        raise bad_sink(name, "no table is named", "sql:CONNECTION/TABLE, or the option table")
    mode = options.get("mode", "merge")
    if mode not in MODES:
        raise bad_sink(name, f'there is no mode "{str(mode)[:40]}"', 'mode = "merge" or "append"')
    if mode == "merge":
        _check_key(spec, sink, name)


def _check_key(spec: JobSpec, sink: SinkSpec, name: str) -> None:
    if not key_of(spec, sink):
        raise bad_sink(
            name, "the job has no key to merge by", 'mode = "append", or key = ["COLUMN"]'
        )
    if spec.on_duplicate == "suffix" and "key" not in sink.options:
        raise bad_sink(
            name,
            "several records may have one key (on_duplicate = suffix), and would overwrite another",
            'mode = "append", or key = ["COLUMN"] with a column that tells them apart',
        )


def key_of(spec: JobSpec, sink: SinkSpec) -> tuple[str, ...]:
    """Return the columns that identify a row in the sink: its own option, else the job's key."""
    own = sink.options.get("key")
    if own:
        return (own,) if isinstance(own, str) else tuple(own)
    if spec.key is None:
        return ("custom_id",) if spec.lines else ()
    return tuple(part.strip() for part in spec.key.split(","))


def open_chunks(ctx: Context, job: Job, delivery: Delivery, sink: SinkSpec) -> ChunkSink:
    """Return what takes the outcomes of `job`. Raises SinkError, ConfigError."""
    spec = ctx.spec_of(job)
    return _sql(ctx, job, delivery, sink, spec)


def header_for(ctx: Context, job: Job) -> Header:
    """Return the columns of a job's outcomes: of an untyped source, as its records show them."""
    if declared_columns(job) is not None:
        return header(job)
    known = ctx.columns.get(job.id)
    if known is None or job.growing:
        known = source_columns(ctx.registry, job)
        ctx.columns[job.id] = known
    return header(job, known)


def _sql(ctx: Context, job: Job, delivery: Delivery, sink: SinkSpec, spec: JobSpec) -> ChunkSink:
    from orchestrator.sinks.sql import SqlSink, Target  # noqa: PLC0415 - only where there is one

    options: dict[str, Any] = sink.options
    target = Target(
        table=options["table"],
        mode=options.get("mode", "merge"),
        key=key_of(spec, sink),
        columns=tuple(options.get("columns", ())),
        rename=options.get("rename"),
        add_columns=bool(options.get("add_columns")),
        nul="\ufffd" if options.get("replace_nul") else "",
    )
    engine = ctx.connections.get(sink.location.removeprefix("sql:"))
    mark = f"{ctx.instance}/{delivery.id}"
    return SqlSink(engine, target, RowValues(header_for(ctx, job)), mark=mark)
