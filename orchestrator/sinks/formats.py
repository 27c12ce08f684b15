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
    near = difflib.get_close_matches(wanted, FORMATS, n=1)
    hint = f', did you mean "{near[0]}"?' if near else ""
    raise UsageError(
        f'there is no export format "{named}"{hint}',
        code=_CODE,
        next=f"--format {', '.join(FORMATS[:-1])} or {FORMATS[-1]}",
    )


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
