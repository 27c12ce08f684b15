"""Lists in every format: aligned for people, plain for pipes, JSON for programs.

Rows are read once and never held, apart from the first few hundred that set the widths.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any, Literal

from orchestrator import human
from orchestrator.documents import Share, jsonable, to_json
from orchestrator.domain.money import Money

__all__ = [
    "Column",
    "Format",
    "Kind",
    "Look",
    "Row",
    "Share",
    "aligned",
    "bare",
    "jsonable",
    "separated",
    "shown",
    "to_json",
]

Kind = Literal[
    "text", "id", "count", "size", "money", "share", "duration", "time", "clock", "state"
]
Format = Literal["table", "tsv", "csv", "json", "jsonl", "id"]
Row = Mapping[str, object]

_MEASURED_ROWS = 500
_LEAST_WIDTH = 8
_GAP = "  "
_RIGHT: frozenset[Kind] = frozenset({"count", "size", "money", "share", "duration"})
_BREAKS = re.compile(r"[\t\n\r\\]")
_ESCAPES = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the row's key, how its value is shown, and whether a table shows it unasked.

    Values: `money` takes a domain Money, `share` a Share, `duration` a timedelta, `time` (shown as
    age) and `clock` (shown as a time of day) a datetime, `state` the state's word. None is `-`.
    """

    key: str
    kind: Kind = "text"
    header: str = ""
    shown: bool = True

    @property
    def title(self) -> str:
        """The header as shown."""
        return self.header or self.key.replace("_", " ").upper()


@dataclass(frozen=True, slots=True)
class Look:
    """What a table needs to know of the terminal and the time."""

    width: int
    now: datetime
    zone: Callable[[], tzinfo]
    unicode: bool
    paint: Callable[[str, str], str]


def aligned(rows: Iterable[Row], columns: Sequence[Column], look: Look) -> Iterator[str]:
    """Yield the lines of a table for people, header first; nothing at all for no rows."""
    left = iter(rows)
    first = [_cells(row, columns, look) for row in itertools.islice(left, _MEASURED_ROWS)]
    if not first:
        return
    titles = [column.title for column in columns]
    widths = _widths([titles, *first], columns, look.width)
    yield look.paint(_line(titles, widths, columns, look), "bold")
    for cells in itertools.chain(first, (_cells(row, columns, look) for row in left)):
        yield _line(cells, widths, columns, look)


def _cells(row: Row, columns: Sequence[Column], look: Look) -> list[str]:
    return [shown(row.get(column.key), column.kind, look) for column in columns]


def _widths(lines: Sequence[Sequence[str]], columns: Sequence[Column], room: int) -> list[int]:
    widths = [max(human.width_of(line[i]) for line in lines) for i in range(len(columns))]
    room -= len(_GAP) * (len(columns) - 1)
    while sum(widths) > room:
        texts = [i for i, c in enumerate(columns) if c.kind == "text" and widths[i] > _LEAST_WIDTH]
        if not texts:
            break
        widest = max(texts, key=lambda i: widths[i])
        widths[widest] = max(_LEAST_WIDTH, widths[widest] - (sum(widths) - room))
    return widths


def _line(
    cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column], look: Look
) -> str:
    padded = (
        human.pad(human.fit(cell, width, unicode=look.unicode), width, right=column.kind in _RIGHT)
        for cell, width, column in zip(cells, widths, columns, strict=True)
    )
    return human.fit(_GAP.join(padded).rstrip(), look.width, unicode=look.unicode)


def shown(value: object, kind: Kind, look: Look) -> str:
    """Return `value` as a person reads it in a cell."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    way = _SHOWN.get(kind)
    if way is not None and isinstance(value, way[0]):
        return way[1](value, look)
    return human.plain(str(value))


_SHOWN: Mapping[Kind, tuple[type, Callable[[Any, Look], str]]] = {
    "count": (int, lambda value, _look: human.count(value)),
    "size": (int, lambda value, _look: human.size(value)),
    "money": (Money, lambda value, _look: human.money(value.amount, value.currency)),
    "share": (Share, lambda value, _look: human.percent(value.part, value.whole)),
    "duration": (timedelta, lambda value, _look: human.duration(value)),
    "time": (datetime, lambda value, look: human.relative(value, look.now)),
    "clock": (datetime, lambda value, look: human.clock(value, look.now, look.zone())),
    "state": (str, lambda value, look: human.state(value, unicode=look.unicode)),
}


def separated(
    rows: Iterable[Row], columns: Sequence[Column], kind: Literal["tsv", "csv"]
) -> Iterator[str]:
    """Yield lines for programs: TSV without a header, or CSV (RFC 4180 quoting) with one.

    Nothing is cut. In TSV a tab, line break or backslash inside a value is written as an escape.
    """
    if kind == "csv":
        yield _csv_line([column.key for column in columns])
    for row in rows:
        cells = [bare(row.get(column.key)) for column in columns]
        if kind == "csv":
            yield _csv_line(cells)
        else:
            yield "\t".join(_BREAKS.sub(lambda m: _ESCAPES[m[0]], cell) for cell in cells)


def _csv_line(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(cells)
    return buffer.getvalue()


def bare(value: object) -> str:
    """Return `value` as a plain field: integers, seconds, RFC 3339; None is empty."""
    plain = jsonable(value)
    match plain:
        case None:
            return ""
        case bool():
            return "true" if plain else "false"
        case str():
            return plain
        case {"amount": amount, "currency": currency}:
            return f"{amount} {currency}"
        case dict() | list():
            return to_json(plain)
    return str(plain)
