"""Find the sink for a format: by its name, or by the ending of the file."""

from __future__ import annotations

import difflib
from pathlib import Path

from orchestrator.domain.errors import ConfigError, UsageError
from orchestrator.sinks.csv_file import CsvSink
from orchestrator.sinks.files import Output
from orchestrator.sinks.folders import OutputFolder, PartsSink
from orchestrator.sinks.jsonl import JsonlSink
from orchestrator.sinks.port import Header, Sink

FORMATS = ("jsonl", "csv", "tsv", "parquet", "arrow", "feather", "xlsx")
_CODE = "ORC6003"
_MISSING = "ORC6011"
_SAME = {"ndjson": "jsonl", "json": "jsonl", "ipc": "arrow", "excel": "xlsx", "pq": "parquet"}

_NEXT = f"--format {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"


def format_of(location: str, named: str | None) -> str:
    """Return the format: the one named, else by the file's ending, else JSON Lines.

    That of a folder of parts, which ends with a slash, is Parquet where none is named.

    Raises UsageError for a format that is not written here.
    """
    ending = Path(location).suffix.removeprefix(".").lower()
    if location.endswith("/"):
        ending = "parquet"
    wanted = (named or ("jsonl" if location == "-" else ending)).lower()
    found = _SAME.get(wanted, wanted)
    if found in FORMATS:
        return found
    if named is None:
        return "jsonl"
    raise UsageError(f'there is no export format "{named}"{_near(wanted)}', code=_CODE, next=_NEXT)


def asked_format(location: str, named: str | None) -> str:
    """Return the format of what is about to be asked for, as `format_of` does.

    Raises UsageError for an ending that says no format, too: one that was mistyped would else make
    JSON Lines of a table without a word. What was asked for before goes on as it was.
    """
    ending = unknown_ending(location) if named is None else ""
    if ending:
        near = _near(ending.lower())
        raise UsageError(f'no format has the ending ".{ending}"{near}', code=_CODE, next=_NEXT)
    return format_of(location, named)


def unknown_ending(location: str) -> str:
    """Return the ending of a file's name that says no format; empty where there is none."""
    ending = Path(location).suffix.removeprefix(".")
    known = location.endswith("/") or ending.lower() in {*FORMATS, *_SAME}
    return "" if known else ending


def _near(wanted: str) -> str:
    near = difflib.get_close_matches(wanted, [*FORMATS, *_SAME], n=1)
    return f', did you mean "{_SAME.get(near[0], near[0])}"?' if near else ""


def open_sink(
    kind: str, output: Output | OutputFolder, header: Header, *, raw: bool = False
) -> Sink:
    """Return a sink of the format `kind` that writes to `output`, in parts to a folder.

    `raw`: text that a spreadsheet would take for a formula is left as it is. Raises ConfigError
    (ORC6011) where a package that the format needs is not installed.
    """
    if isinstance(output, OutputFolder):
        return PartsSink(output, lambda part: open_sink(kind, part, header, raw=raw))
    match kind:
        case "csv":
            return CsvSink(output, header, raw=raw)
        case "tsv":
            return CsvSink(output, header, delimiter="\t", raw=raw)
        case "jsonl":
            return JsonlSink(output, header)
    try:
        return _open_table(kind, output, header, raw=raw)
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"{kind} needs a package that is not installed: {exc.name}",
            code=_MISSING,
            safe="nothing was written",
            next='pip install "batch-orchestrator[tables]"',
        ) from exc


def _open_table(kind: str, output: Output, header: Header, *, raw: bool) -> Sink:
    from orchestrator.sinks import arrow_files  # noqa: PLC0415 - text formats do without it

    if kind == "xlsx":
        from orchestrator.sinks.xlsx_file import XlsxSink  # noqa: PLC0415

        return XlsxSink(output, header, raw=raw)
    made = {
        "parquet": arrow_files.ParquetSink,
        "arrow": arrow_files.ArrowSink,
        "feather": arrow_files.FeatherSink,
    }
    return made[kind](output, header)
