"""Rows of outcomes as Arrow record batches: typed columns from JSON text, a chunk at a time."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NoReturn

import msgspec
import pyarrow as pa

from orchestrator.domain.errors import SinkError
from orchestrator.domain.shape import JSON, Column
from orchestrator.domain.tariff import PLACES, Costs
from orchestrator.sinks.arrow_types import arrow_type
from orchestrator.sinks.arrow_values import MISFITS, Codec, codec_of
from orchestrator.sinks.joined import Joined
from orchestrator.sinks.port import COLUMNS, Block, Header, OutcomeRow, block_of, object_of

NO_FIT = "ORC6010"
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_LONGEST_KEY = 80


class Misfit(Exception):
    """A value does not fit its column. `row` counts within what was given."""

    def __init__(self, row: int, column: Column, why: str) -> None:
        super().__init__(why)
        self.row = row
        self.column = column
        self.why = why


class ArrowTable:
    """Makes record batches under one schema out of chunks of rows. Holds one chunk."""

    def __init__(self, header: Header) -> None:
        self._records = _Members([column.name for column in header.source], header.source)
        self._answers = _Members(header.members, header.answer)
        self._outcome = [_codec_of_ours(column) for column in header.outcome]
        self._rows = 0
        self.schema = pa.schema(
            [pa.field(column.name, arrow_type(column.type)) for column in header.columns]
        )

    def batch(self, rows: Sequence[OutcomeRow]) -> pa.RecordBatch:
        """Return `rows` as a record batch. Raises SinkError for a value that does not fit."""
        return self.of_block(block_of(rows))

    def of_block(self, block: Block) -> pa.RecordBatch:
        """Return rows that stand side by side as a record batch. Raises SinkError."""
        outcome = zip(self._outcome, block[1 : 1 + len(COLUMNS)], strict=True)
        try:
            arrays = self._records.arrays(block.record)
            arrays += [codec.array(values) for codec, values in outcome]
            arrays += self._answers.arrays(list(map(object_of, block.answer)))
        except Misfit as misfit:
            self._refuse(misfit, block.key[misfit.row])
        self._rows += len(block.record)
        return pa.record_batch(arrays, schema=self.schema)

    def _refuse(self, misfit: Misfit, key: str | None) -> NoReturn:
        number = self._rows + misfit.row + 1
        name, kind = misfit.column.name, misfit.column.type
        record = key[:_LONGEST_KEY] if key else number
        raise SinkError(
            f'a value of record {record} does not fit the column "{name}"',
            code=NO_FIT,
            where=f"row {number:,} of the export, column {name} ({kind})",
            why=misfit.why[:200],
            safe="every outcome stays in the registry; no half file is left",
            next="export to jsonl, which keeps every value as it is",
        ) from misfit


class _Members:
    """Reads members of JSON objects, each as its column's type."""

    def __init__(self, names: Sequence[str], columns: Sequence[Column]) -> None:
        self._names = names
        self._columns = columns
        self._codecs = [_codec(column) for column in columns]
        fields = [f"f{number}" for number in range(len(names))]
        kinds = [codec.nullable for codec in self._codecs]
        record = msgspec.defstruct(
            "Record",
            [(f, kind, None) for f, kind in zip(fields, kinds, strict=True)],
            rename=dict(zip(fields, names, strict=True)),
            gc=False,
        )
        self._fields = fields
        self._decode = msgspec.json.Decoder(list[record]).decode  # type: ignore[valid-type]
        self._exact = [msgspec.json.Decoder(kind).decode for kind in kinds]

    def arrays(self, texts: Sequence[str]) -> list[pa.Array]:
        """Return an array for each column. Raises Misfit."""
        if not self._columns:
            return []
        try:
            rows = self._decode(
                texts.array if isinstance(texts, Joined) else f"[{','.join(texts)}]"
            )
        except (msgspec.DecodeError, UnicodeError):
            return self._exactly(texts)
        columns = (list(map(attrgetter(field), rows)) for field in self._fields)
        return [self._array(number, values) for number, values in enumerate(columns)]

    def _exactly(self, texts: Sequence[str]) -> list[pa.Array]:
        """Read value by value, so that the one that does not fit is known."""
        rows = [_members(text) for text in texts]
        return [
            self._array(number, [self._value(number, at, row) for at, row in enumerate(rows)])
            for number in range(len(self._columns))
        ]

    def _value(self, number: int, at: int, row: dict[str, msgspec.Raw]) -> Any:  # noqa: ANN401 - JSON
        raw = row.get(self._names[number])
        if raw is None:
            return None
        try:
            return self._exact[number](raw)
        except (msgspec.DecodeError, UnicodeError) as error:
            if _takes_json(self._columns[number]):
                return bytes(raw).decode()
            raise Misfit(at, self._columns[number], str(error)) from error

    def _array(self, number: int, values: Sequence[Any]) -> pa.Array:
        make = self._codecs[number].array
        try:
            return make(values)
        except MISFITS:
            for at, value in enumerate(values):
                try:
                    make([value])
                except MISFITS as error:
                    raise Misfit(at, self._columns[number], str(error)) from error
            raise


def _codec(column: Column) -> Codec:
    if column.type == JSON:
        return Codec(msgspec.Raw, _json_texts)
    return codec_of(arrow_type(column.type))


def _codec_of_ours(column: Column) -> Codec:
    """Return how an outcome's column is read: of a cost, digits beyond the column's are cut."""
    kind = arrow_type(column.type)
    if not pa.types.is_decimal(kind):
        return codec_of(kind)
    return Codec(str, lambda values: _costs(values, kind))


def _costs(values: Sequence[str | None], kind: pa.Decimal128Type) -> pa.Array:
    if not isinstance(values, Costs) or kind.scale < PLACES:
        return pa.array(list(values), pa.string()).cast(kind, safe=False)
    raised = 10 ** (kind.scale - PLACES)
    units = [None if each is None else each * raised for each in values.units]
    try:
        whole = pa.array(units, pa.int64()).cast(pa.decimal128(kind.precision, 0))
    except OverflowError:  # nine million of the currency for one record
        return pa.array(list(values), pa.string()).cast(kind, safe=False)
    return whole.view(kind)  # the same integers, with the point set


def _json_texts(values: Sequence[msgspec.Raw | None]) -> pa.Array:
    texts = [None if value is None else bytes(value).decode() for value in values]
    return pa.array([None if text == "null" else text for text in texts], pa.string())


def _takes_json(column: Column) -> bool:
    """Whether what is not text stands in this column as its JSON: decimals take numbers so."""
    kind = arrow_type(column.type)
    return bool(pa.types.is_string(kind) or pa.types.is_decimal(kind))
