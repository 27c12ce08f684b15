"""The columns that a job with the sink `source` puts into the table that it reads.

The next run must not take them for the user's: its records would all have changed, and its own
answers would go into further columns beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from orchestrator.domain.answer_columns import columns_of
from orchestrator.domain.delivering import kind_of
from orchestrator.domain.record_keys import key_columns
from orchestrator.domain.shape import read_shape
from orchestrator.domain.spec import JobSpec, SinkSpec
from orchestrator.engine.checking_sinks import location_of_source
from orchestrator.engine.history import History
from orchestrator.registry.series import Run
from orchestrator.sinks.port import Header, header_of

_IN_BRACES = re.compile(r"\{[^{}]*")
_spec = msgspec.json.Decoder(JobSpec)


def usual_columns(header: Header) -> list[str]:
    """Return what goes back unless the sink says otherwise: the outcome, and answers or text."""
    answers = header.answer or header.outcome[1:2]
    return [column.name for column in (*header.outcome[:1], *answers)]


def left_out(spec: JobSpec, history: History) -> frozenset[str]:
    """Return the columns of the source of `spec` that its earlier runs have added to it.

    Only what was not there when such a run read the table: a column of the user's own is never
    taken for an answer, whatever it is called. A column that `spec` names is a part of its records
    all the same. Raises RegistryError.
    """
    tables = _tables(spec)
    if not tables:
        return frozenset()
    added = {name for run in history.runs() for name in _added(run, tables)}
    return frozenset(name for name in added if not _is_named(spec, name))


def _back(spec: JobSpec) -> list[SinkSpec]:
    return [sink for sink in spec.sinks if kind_of(sink) == "source"]


def _tables(spec: JobSpec) -> set[tuple[str, str]]:
    return {location_of_source(spec, sink) for sink in _back(spec)}


def _added(run: Run, tables: set[tuple[str, str]]) -> Iterator[str]:
    """Yield the columns that a run has added to one of these tables."""
    spec, there = _spec.decode(run.spec), read_shape(run.shape).columns
    if not there:
        return  # not known: what it found can't be told from what it wrote
    names = {column.name for column in there}
    header = header_of(there, columns_of(spec.answer.schema) if spec.answer else ())
    for sink in _back(spec):
        if location_of_source(spec, sink) not in tables:
            continue
        wanted = sink.options.get("columns") or usual_columns(header)
        rename = sink.options.get("rename") or {}
        for column in (wanted,) if isinstance(wanted, str) else wanted:
            if (name := rename.get(column, column)) not in names:
                yield name


def _is_named(spec: JobSpec, column: str) -> bool:
    """Whether a job needs a column: by name, in its condition, or in the braces of its texts."""
    if column in {*key_columns(spec.key or ""), *spec.images, *spec.overrides.values()}:
        return True
    texts = (spec.prompt or "", spec.template or "", spec.system or "")
    told = [spec.where, *(part for text in texts for part in _IN_BRACES.findall(text))]
    word = re.compile(rf"(?<!\w){re.escape(column)}(?!\w)")
    return any(map(word.search, told))
