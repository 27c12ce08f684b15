"""Find the sink for a format: by its name, or by the ending of the file."""

from __future__ import annotations

import difflib
from pathlib import Path

from orchestrator.domain.errors import UsageError
from orchestrator.sinks.csv_file import CsvSink
from orchestrator.sinks.files import Output
from orchestrator.sinks.jsonl import JsonlSink
from orchestrator.sinks.port import Header, Sink

FORMATS = ("jsonl", "csv")
_CODE = "ORC6003"
_ENDINGS = {"jsonl": "jsonl", "ndjson": "jsonl", "json": "jsonl", "csv": "csv"}
_LATER = frozenset({"parquet", "arrow", "feather", "xlsx"})


def format_of(location: str, named: str | None) -> str:
    """Return the format: the one named, else by the file's ending, else JSON Lines.

    Raises UsageError for a format that is not written here, with a way to it.
    """
    ending = Path(location).suffix.removeprefix(".").lower()
    wanted = (named or ("jsonl" if location == "-" else ending)).lower()
    found = _ENDINGS.get(wanted)
    if found is not None:
        return found
    if wanted in _LATER:
        raise UsageError(
            f"{wanted} is not written by this release",
            code=_CODE,
            why="jsonl keeps every value and its type; any table tool reads it",
            next="export to jsonl, then for example: "
            "duckdb -c \"copy (from 'out.jsonl') to 'out.parquet'\"",
        )
    if named is None:
        return "jsonl"
    near = difflib.get_close_matches(wanted, FORMATS, n=1)
    hint = f', did you mean "{near[0]}"?' if near else ""
    raise UsageError(
        f'there is no export format "{named}"{hint}', code=_CODE, next="--format jsonl or csv"
    )


def open_sink(kind: str, output: Output, header: Header, *, raw: bool = False) -> Sink:
    """Return a sink of the format `kind` that writes to `output`."""
    if kind == "csv":
        return CsvSink(output, header, raw=raw)
    return JsonlSink(output, header)
