"""An outcome of one job as a record of the next: its source columns, its answer behind them.

The answer's text stands in the column `text`, or under the name that `answer` gives it; the
members of a checked answer in columns of their own. A job that takes all outcomes is also told what
became of each. What it cost, and in which batch it travelled, is the job's own affair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from orchestrator.domain.errors import SourceError
from orchestrator.domain.intake import Record
from orchestrator.domain.model import RequestState
from orchestrator.domain.shape import Column
from orchestrator.sinks.port import COLUMNS, Header, OutcomeRow
from orchestrator.sources.options import UNFIT, refuse_unknown

OPTIONS = ("outcomes", "answer")
NAME_TAKEN = "ORC2073"

_TEXT = "text"
_WORDS = ("outcome", "error_code", "error_message")
_SUCCEEDED = RequestState.SUCCEEDED.value
_decode = msgspec.json.decode
_encode = msgspec.json.encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Options(NamedTuple):
    """How outcomes become records. `outcomes`: which of them; `name`: of the text's column."""

    outcomes: Literal["succeeded", "all"] = "succeeded"
    name: str = ""


def read_options(options: Mapping[str, Any]) -> Options:
    """Return the options of a source `job:NAME`. Raises SourceError (ORC2032)."""
    refuse_unknown(options, OPTIONS, "job")
    outcomes, name = options.get("outcomes", "succeeded"), options.get("answer", "")
    if outcomes not in ("succeeded", "all"):
        raise _unfit("outcomes", '"all" or "succeeded"', '"all"')
    if not isinstance(name, str):
        raise _unfit("answer", "the name of a column", '"label"')
    return Options(outcomes, name)


def _unfit(option: str, wanted: str, such: str) -> SourceError:
    return SourceError(
        f'the option "{option}" of a source job:NAME must be {wanted}',
        code=UNFIT,
        next=f"{option} = {such}",
    )


class HandOn:
    """Makes records of outcomes. `columns`: those of its records, with their types."""

    def __init__(self, header: Header, options: Options) -> None:
        self._options = options
        self._words = [
            (field, column.name)
            for field, column in zip(COLUMNS, header.outcome, strict=True)
            if options.outcomes == "all" and field in _WORDS
        ]
        text = header.outcome[COLUMNS.index(_TEXT)].name
        self._text = options.name or text
        self._answer = list(zip(header.members, header.answer, strict=True))
        names = dict(zip(COLUMNS, header.outcome, strict=True))
        self.columns = (
            *header.source,
            *(Column(name, names[field].type) for field, name in self._words),
            Column(self._text, "string"),
            *header.answer,
        )
        _refuse_twice(self.columns, options)

    def record(self, position: int, row: OutcomeRow) -> Record | None:
        """Return the record that an outcome gives, None for one that is not wanted."""
        if row.outcome != _SUCCEEDED and self._options.outcomes != "all":
            return None
        raw = _behind(row.record, self._behind(row))
        return Record(position, _decode(raw, type=dict[str, Any]), raw, key=row.key or "")

    def _behind(self, row: OutcomeRow) -> dict[str, Any]:
        values: dict[str, Any] = {name: getattr(row, field) for field, name in self._words}
        values[self._text] = row.text
        if self._answer:
            members = _members(row.answer) if row.answer is not None else {}
            for member, column in self._answer:
                values[column.name] = _value(members.get(member), column)
        return values


def _value(raw: msgspec.Raw | None, column: Column) -> Any:  # noqa: ANN401 - any JSON value
    """Return a member of an answer; what is no text in a column of text is JSON text there."""
    if raw is None:
        return None
    text = bytes(raw)
    if column.type != "string" or text[:1] in (b'"', b"n"):
        return raw
    return text.decode()


def _behind(record: str, values: dict[str, Any]) -> bytes:
    """Return a record's text with members behind its own, every digit of it kept."""
    head = record.strip()[:-1].rstrip().encode("utf-8", "replace")
    return head + (b"" if head == b"{" else b",") + _encode(values)[1:]


def _refuse_twice(columns: Sequence[Column], options: Options) -> None:
    names = [column.name for column in columns]
    if options.name and names.count(options.name) > 1:
        raise SourceError(
            f'there is a column "{options.name[:80]}" already',
            code=NAME_TAKEN,
            why="the answer would stand in a column that the records have",
            safe="nothing was registered, nothing was sent",
            next='give the answer another name: answer = "..."',
        )
