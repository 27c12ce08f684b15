"""What the first record of a source shows: ready batch lines, or the column that is the key."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence

import msgspec

from orchestrator.domain.errors import SourceError
from orchestrator.domain.intake import Record
from orchestrator.domain.record_keys import key_columns
from orchestrator.domain.spec import JobSpec
from orchestrator.sources.port import Source

NO_KEY = "ORC2302"
_USUAL_KEY = "id"


def recognised(spec: JobSpec, source: Source, *, made: bool = False) -> JobSpec:
    """Return `spec` with what the first record shows; `made`: its messages come from elsewhere.

    Raises SourceError (ORC2302) where no column, or one that is not there, is the key.
    """
    made = made or spec.lines or spec.prompt is not None or spec.template is not None
    first = next((row for row in source.records() if isinstance(row, Record)), None)
    if not made and first is not None and {"custom_id", "body"} <= first.data.keys():
        return msgspec.structs.replace(spec, lines=True)
    if spec.lines or first is None or (spec.key is None and first.key):
        return spec
    columns = source.shape().names
    if spec.key is None:
        if _USUAL_KEY in columns:
            return msgspec.structs.replace(spec, key=_USUAL_KEY)
        raise _no_key(spec, columns, "nothing says which column identifies a record", "")
    for name in () if spec.key in columns else key_columns(spec.key):
        if name not in columns:
            near = next(iter(difflib.get_close_matches(name, columns, n=1)), "")
            hint = f', did you mean "{near}"?' if near else ""
            raise _no_key(spec, columns, f'there is no column "{name[:80]}"{hint}', near)
    return spec


def _no_key(spec: JobSpec, columns: Sequence[str], message: str, near: str) -> SourceError:
    return SourceError(
        message,
        code=NO_KEY,
        where=spec.source,
        why=f"the columns are {_listed(columns)}",
        safe="nothing was registered, nothing was sent",
        next=f"--key {shlex.quote(near or next(iter(columns), 'COLUMN'))}",
    )


def _listed(columns: Sequence[str], most: int = 20) -> str:
    shown = ", ".join(name[:40] for name in columns[:most])
    return f"{shown} and {len(columns) - most:,} more" if len(columns) > most else shown
