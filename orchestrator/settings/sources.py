"""What a declared source comes to: its location, and the options of its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.settings.queries import read_query
from orchestrator.settings.schema import JobDeclaration, SourceSettings

_KINDS = {"file": "a file", "files": "files", "sql": "a database", "job": "another job"}
_STATEMENTS = ("table", "query", "query_file")
_OPTIONS: Mapping[str, tuple[tuple[str, ...], str]] = {
    **dict.fromkeys(("outcomes", "answer", "stream"), (("job",), "another job")),
    **dict.fromkeys(_STATEMENTS, (("sql",), "a database")),
    "sheet": (("file", "files"), "a workbook"),
}
"""Options, each with the kinds of source that it is for, and how these are called."""


def source_problems(name: str, source: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the source of the job spec `name`, and what to do about it."""
    given = [kind for kind in _KINDS if kind in source]
    if not given:
        yield f"{name} has no source", f'add: source = "FILE" to [{name}]'
    if len(given) > 1:
        first, second = (_KINDS[kind] for kind in given[:2])
        yield f"{name} takes {first} or {second} as its source, not both", ""
    for option, (kinds, called) in _OPTIONS.items():
        if option in source and not set(kinds) & set(given):
            yield f"{name}.source.{option} is for a source that is {called}", ""
    if given == ["sql"]:
        yield from _statement_problems(name, source)


def _statement_problems(name: str, source: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    told = [option for option in _STATEMENTS if option in source]
    if len(told) != 1:
        have = " and ".join(told) or "none of them"
        yield f"{name}.source takes one of table, query and query_file; it has {have}", ""


def location_of(source: SourceSettings) -> str:
    """Return where the records are, as a job keeps it."""
    if source.sql is not None:
        return f"sql:{source.sql}"
    if source.job is not None:
        return f"job:{source.job}"
    return source.file if source.file is not None else "\n".join(source.files)


def options_of(declared: JobDeclaration) -> dict[str, Any]:
    """Return the options of a source, where they are not the usual ones; a query is read."""
    source = declared.source
    options: dict[str, Any] = {
        name: value
        for name in ("table", "query", "sheet", "answer")
        if (value := getattr(source, name)) is not None
    }
    if source.outcomes != "succeeded":
        options["outcomes"] = source.outcomes
    if source.query_file is not None:
        setting = f"jobs.{declared.spec}.source.query_file"
        help_line = f"orchestrator config explain {setting}"
        options["query"] = read_query(source.query_file, help_line)
    return options
