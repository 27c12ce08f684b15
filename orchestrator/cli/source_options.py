"""Options that say what is read of a source, and which of its records become requests."""

from __future__ import annotations

from collections.abc import Mapping
from glob import has_magic
from pathlib import PurePosixPath
from typing import Any

import click

from orchestrator.cli.session import Session
from orchestrator.domain.errors import UsageError
from orchestrator.domain.job_names import job_name
from orchestrator.domain.spec import JobSpec

SQL = "sql:"
_WAYS = ("table", "query", "query_file")

OPTIONS = (
    click.option("--table", metavar="NAME", help="of sql:CONNECTION: the table or view to read"),
    click.option("--query", metavar="SQL", help="of sql:CONNECTION: the statement to read"),
    click.option("--query-file", metavar="FILE", help="the same from a file"),
    click.option(
        "--sheet", metavar="NAME", help="of a workbook: the sheet to read; else the first"
    ),
    click.option(
        "--only",
        metavar="CONDITION",
        help="records for which it holds: stars >= 4 and lang == 'en'",
    ),
    click.option(
        "--changed-only", is_flag=True, help="records that earlier jobs over the source lack"
    ),
    click.option(
        "--series", metavar="NAME", help="whose earlier jobs those are; else the source's"
    ),
)


def is_location(source: str) -> bool:
    """Whether `source` is no path of one file: a database, a URL or a pattern."""
    return source.startswith(SQL) or "://" in source or has_magic(source)


def located(session: Session, source: str) -> str:
    """Return `source` so that it means the same from every folder."""
    if source.startswith(SQL) or "://" in source:
        return source
    return str(session.world.cwd / source)


def name_of(source: str, options: Mapping[str, Any]) -> str:
    """Return what a job over `source` is called unless it is named: as its table or files."""
    if options["table"]:
        return job_name(options["table"].rpartition(".")[2])
    if options["query_file"]:
        return job_name(PurePosixPath(options["query_file"]).stem)
    if source.startswith(SQL):
        return job_name(source.removeprefix(SQL))
    path = PurePosixPath(source.partition("://")[2] or source)
    plain = [part for part in (path.stem, *(p.name for p in path.parents)) if not has_magic(part)]
    return job_name(next((part.partition(".")[0] for part in plain if part), "records"))


def changes(session: Session, base: JobSpec, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `base` that the options change. Raises UsageError, NotFound."""
    changed: dict[str, Any] = {}
    if options["only"] is not None:
        changed["where"] = options["only"]
    if options["changed_only"]:
        changed["changed_only"] = True
    if options["series"] is not None:
        changed["series"] = options["series"]
    own = _of_source(session, options)
    if own:
        replaced = {"table", "query"} if own.keys() & {"table", "query"} else set[str]()
        kept = {name: v for name, v in base.source_options.items() if name not in replaced}
        changed["source_options"] = {**kept, **own}
    return changed


def _of_source(session: Session, options: Mapping[str, Any]) -> dict[str, Any]:
    given = [name for name in _WAYS if options[name] is not None]
    if len(given) > 1:
        first, second = (f"--{name.replace('_', '-')}" for name in given[:2])
        raise UsageError(
            f"{first} and {second} both say what is read",
            next="give one of --table, --query and --query-file",
        )
    own = {name: options[name] for name in ("table", "query", "sheet") if options[name] is not None}
    if options["query_file"] is not None:
        from orchestrator.settings.queries import read_query  # noqa: PLC0415 - help needs none of it

        path = session.world.cwd / options["query_file"]
        own["query"] = read_query(path, "check the path given with --query-file")
    return own
