"""Find the source for a location: by the format's name, or by the ending of the file.

A format's name is its file ending. Those of others are the entry points of the group
`orchestrator.sources`; what an entry point names is a `SourceFactory`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, cast

from orchestrator.domain.errors import SourceError
from orchestrator.domain.spec import RENDERED
from orchestrator.sources import parts
from orchestrator.sources.options import NO_OPTIONS
from orchestrator.sources.packed import plain_name
from orchestrator.sources.port import (
    MAX_ROW_BYTES,
    NOTHING_OPEN,
    Opening,
    Source,
    SourceFactory,
)
from orchestrator.sources.remote import is_url

GROUP = "orchestrator.sources"
STANDARD_INPUT = "-"
JOB = "job:"
UNKNOWN_FORMAT = "ORC2006"
NO_JOB_HERE = "ORC2031"
_DIALECTS = {
    "ndjson": "jsonl",
    "tsv": "csv",
    **dict.fromkeys(("feather", "arrows", "ipc"), "arrow"),
    **dict.fromkeys(("xlsm", "xls", "xlsb", "ods"), "xlsx"),
}
_OWN = {
    "jsonl": "orchestrator.sources.jsonl:JsonlSource",
    "csv": "orchestrator.sources.csv_file:CsvSource",
    "parquet": "orchestrator.sources.arrow_file:ArrowSource",
    "arrow": "orchestrator.sources.arrow_file:ArrowSource",
    "xlsx": "orchestrator.sources.excel:ExcelSource",
    RENDERED: "orchestrator.sources.rendered:RenderedSource",
}


def formats() -> list[str]:
    """Return the names of all formats that can be read."""
    found = _OWN.keys() | {point.name for point in entry_points(group=GROUP)}
    found |= {name for name, of in _DIALECTS.items() if of in found}
    return sorted(found - {RENDERED})


def open_source(
    location: str,
    source_format: str = "auto",
    *,
    options: Mapping[str, Any] = NO_OPTIONS,
    opening: Opening = NOTHING_OPEN,
    max_row_bytes: int = MAX_ROW_BYTES,
) -> Source:
    """Open `location` as `source_format`; `auto` goes by the ending of the file's name.

    A location is the path or URL of a file, a pattern such as `data/*.parquet`, several of them
    one a line; `job:NAME`: the outcomes of another job; `sql:CONNECTION` or the URL of a database
    with the option `table` or `query`. `options` are those of the kind of source.

    Raises SourceError for an unknown format and for a file that is empty or can't be read,
    NotFound for one that is not there.
    """
    if location == STANDARD_INPUT:
        raise SourceError(
            "standard input can be read only once, a source is read twice",
            code=UNKNOWN_FORMAT,
            next="write it to a file first and name that file",
        )
    if location.startswith(JOB):
        return _job(location.removeprefix(JOB), options, opening)
    if is_sql(location):
        return _sql(location, options, opening)
    found = parts.expanded(location, opening)
    opened = [_file(one, source_format, options, opening, max_row_bytes) for one in found]
    return opened[0] if len(opened) == 1 else parts.Parts(location, opened)


def _file(
    location: str,
    source_format: str,
    options: Mapping[str, Any],
    opening: Opening,
    max_row_bytes: int,
) -> Source:
    name = source_format
    if name == "auto":
        name = Path(plain_name(location)).suffix.removeprefix(".").lower()
    point = _entry_point(name)
    if point is None:
        raise _unknown(location, source_format, name)
    factory = cast("SourceFactory", point.load())
    return factory(location, name, options=options, opening=opening, max_row_bytes=max_row_bytes)


def is_sql(location: str) -> bool:
    """Whether `location` is a connection, `sql:NAME`, or the URL of a database."""
    return location.startswith("sql:") or ("://" in location and not is_url(location))


def _sql(location: str, options: Mapping[str, Any], opening: Opening) -> Source:
    from orchestrator.sources.sql import SqlSource  # noqa: PLC0415 - other sources need none of it

    return SqlSource(location, options=options, opening=opening)


def _job(name: str, options: Mapping[str, Any], opening: Opening) -> Source:
    if opening.job is None:
        raise SourceError(
            f"the outcomes of job {name} are not available here",
            code=NO_JOB_HERE,
            why="a job is a source only where its registry is at hand",
            next=f"export it, and name that file: orchestrator export {name} -o {name}.jsonl",
        )
    return opening.job(name, options)


def _entry_point(name: str) -> EntryPoint | None:
    wanted = _DIALECTS.get(name, name)
    if wanted in _OWN:
        return EntryPoint(wanted, _OWN[wanted], GROUP)
    return next((point for point in entry_points(group=GROUP) if point.name == wanted), None)


def _unknown(location: str, source_format: str, name: str) -> SourceError:
    known = formats()
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    if source_format != "auto":
        headline = f'there is no source format "{source_format}"'
    elif name:
        headline = f'the ending ".{name}" of {location} says no known format'
    else:
        headline = f"{location} has no ending that says its format"
    return SourceError(
        headline,
        code=UNKNOWN_FORMAT,
        next=f"{hint}say --source-format, one of {', '.join(known)}",
    )
