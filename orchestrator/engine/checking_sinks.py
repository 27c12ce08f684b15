"""What is wrong with a job's sinks: asked before anything is registered."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.domain.delivering import delivery_name, is_local, is_reference, kind_of, placed
from orchestrator.domain.errors import SinkError
from orchestrator.domain.record_keys import key_columns
from orchestrator.domain.spec import JobSpec, SinkSpec
from orchestrator.sinks.formats import FORMATS, format_of, unknown_ending
from orchestrator.sinks.plugins import find_sink
from orchestrator.sinks.remote_files import is_url
from orchestrator.sources.registry import is_sql

BAD_SINK = "ORC6025"
MODES = ("merge", "append")

_TABLE = frozenset({"table", "key", "columns", "rename", "replace_nul"})
_OPTIONS: Mapping[str, frozenset[str]] = {
    "file": frozenset({"raw"}),
    "sql": _TABLE | {"mode", "add_columns"},
    "source": _TABLE,
    "webhook": frozenset({"url", "secret", "per", "size", "timeout", "allow_private"}),
}
"""What each kind takes beside `name`; a sink of one's own takes what it likes."""

_PASSWORD = re.compile(r"://[^/@?]*:[^/@]+@|[?&](?:password|sslpassword)=", re.IGNORECASE)
_TEXTS = frozenset({"table", "mode", "per", "name"})
_FLAGS = frozenset({"raw", "add_columns", "replace_nul", "allow_private"})
_ONE_FILE = frozenset({"xlsx"})
_NAMED = 'say format = "jsonl", with --sink: NAME?format=jsonl'


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
    _refuse_password(sink)
    kind, name = kind_of(sink), delivery_name(sink, spec.name)
    if kind in _OPTIONS:
        _check_options(sink, name, _OPTIONS[kind] | {"name"})
    _CHECKS[kind](spec, sink, name)


def _refuse_password(sink: SinkSpec) -> None:
    """Refuse a password in an address before anything keeps or shows it."""
    if _PASSWORD.search(sink.location):
        scheme = sink.location.removeprefix("sql:").partition("://")[0]
        raise bad_sink(
            f"{scheme}://...",
            "a password stands in its address",
            'name a connection, [connections.NAME], or for a webhook { env = "NAME" }',
        )


def bad_sink(name: str, why: str, next_: str) -> SinkError:
    """Return the refusal of a sink as it is declared."""
    return SinkError(
        f"the sink {name} can't be used",
        code=BAD_SINK,
        why=why,
        safe="nothing was registered, nothing was sent",
        next=next_,
    )


def _check_options(sink: SinkSpec, name: str, known: frozenset[str]) -> None:
    for option, value in sink.options.items():
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f', did you mean "{near[0]}"?' if near else ""
            takes = ", ".join(sorted(known))
            raise bad_sink(name, f'it has no option "{option[:60]}"{hint}', f"it takes {takes}")
        if option in _TEXTS and not isinstance(value, str):
            raise bad_sink(name, f"{option} takes a text", f'{option} = "..."')
        if option in _FLAGS and not isinstance(value, bool):
            raise bad_sink(name, f"{option} takes true or false", f"{option} = true")
        if option in {"key", "columns"} and not _is_names(value):
            raise bad_sink(name, f"{option} takes a list of columns", f'{option} = ["a", "b"]')
        if option == "rename" and not _is_renaming(value):
            raise bad_sink(name, "rename takes a table of names", 'rename = { text = "tag" }')


def _is_names(value: Any) -> bool:  # noqa: ANN401 - any value of TOML
    return isinstance(value, str) or (
        isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)
    )


def _is_renaming(value: Any) -> bool:  # noqa: ANN401 - any value of TOML
    return isinstance(value, dict) and all(isinstance(name, str) for name in value.values())


def _check_file(spec: JobSpec, sink: SinkSpec, name: str) -> None:
    location = placed(sink.location, spec.name)
    kind = format_of(location, None if sink.format == "auto" else sink.format)
    ending = unknown_ending(location) if sink.format == "auto" else ""
    if ending:
        known = f"end its name with .{', .'.join(FORMATS)}"
        raise bad_sink(name, f"no format has the ending .{ending}", f"{known}; or {_NAMED}")
    if not is_local(sink):
        _check_address(sink, name)
        return
    if sink.stream and kind in _ONE_FILE:
        raise bad_sink(
            name, f"{kind} is written as a whole only", "leave out stream, or write parquet or csv"
        )
    if Path(location).resolve() == Path(spec.source).resolve():
        raise bad_sink(name, "it is the job's own source", "name another file")
    folder = Path(location).parent
    if not folder.is_dir():
        raise bad_sink(name, f"the folder {folder} is not there", f"mkdir -p {folder}")


def _check_address(sink: SinkSpec, name: str) -> None:
    """Refuse addresses of what can't be written to, or can't grow."""
    if sink.stream:
        raise bad_sink(name, "an object in a store can't grow", "leave out stream, or name a file")
    if not is_url(sink.location):
        raise bad_sink(name, "nothing writes to such an address", "s3://, gs://, az:// or a path")


def _check_sql(spec: JobSpec, sink: SinkSpec, name: str) -> None:
    if not sink.options.get("table"):
        raise bad_sink(name, "no table is named", "sql:CONNECTION/TABLE, or the option table")
    mode = sink.options.get("mode", "merge")
    if mode not in MODES:
        raise bad_sink(name, f'there is no mode "{mode[:40]}"', 'mode = "merge" or "append"')
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
            "with on_duplicate = suffix several records may have one key, and overwrite each other",
            'mode = "append", or key = ["COLUMN"] with columns that tell them apart',
        )


def _check_source(spec: JobSpec, sink: SinkSpec, name: str) -> None:
    if not is_sql(spec.source):
        raise bad_sink(
            name, "the job's source is no table", "name a sink: sql:CONNECTION/TABLE or a file"
        )
    if not location_of_source(spec, sink)[1]:
        raise bad_sink(
            name,
            "the job's source is a query: which table it comes from is not known",
            'the option table = "..."',
        )
    _check_key(spec, sink, name)


def _check_webhook(_spec: JobSpec, sink: SinkSpec, name: str) -> None:
    options = sink.options
    if options.get("per", "chunk") not in {"chunk", "outcome"}:
        raise bad_sink(name, "per takes chunk or outcome", 'per = "outcome"')
    for option in ("size", "timeout"):
        value = options.get(option, 1)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 2_000:
            raise bad_sink(name, f"{option} takes a whole number from 1 to 2,000", f"{option} = 30")
    for option in ("url", "secret"):
        if option in options and not is_reference(options[option]):
            raise bad_sink(
                name, f"{option} takes a reference, never the secret", f'{option} = {{ env = "X" }}'
            )


def _check_use(_spec: JobSpec, sink: SinkSpec, _name: str) -> None:
    find_sink(sink.location.removeprefix("use:"))


_CHECKS: Mapping[str, Callable[[JobSpec, SinkSpec, str], None]] = {
    "file": _check_file,
    "sql": _check_sql,
    "source": _check_source,
    "webhook": _check_webhook,
    "use": _check_use,
}


def key_of(spec: JobSpec, sink: SinkSpec) -> tuple[str, ...]:
    """Return the columns that identify a row in the sink: its own option, else the job's key."""
    own = sink.options.get("key")
    if own:
        return (own,) if isinstance(own, str) else tuple(own)
    if spec.key is None:
        return ("custom_id",) if spec.lines else ()
    return key_columns(spec.key)


def location_of_source(spec: JobSpec, sink: SinkSpec) -> tuple[str, str]:
    """Return the connection and the table that the records of a job come from."""
    table = sink.options.get("table") or spec.source_options.get("table") or ""
    return spec.source.removeprefix("sql:"), str(table)
