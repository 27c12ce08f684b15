"""The table that records came from, as a sink: answers go into columns beside them, by key."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError

from orchestrator.failpoints import hit
from orchestrator.sinks.chunks import CHUNK, Arrived, SinkRefused
from orchestrator.sinks.row_values import RowValues
from orchestrator.sinks.sql import update_by_key
from orchestrator.sinks.sql_target import (
    MISFIT,
    Row,
    Target,
    first_line,
    fit_row,
    fitters,
    ready_table,
    told,
)


class SourceTable:
    """Updates the rows of a table; those that are gone by now are passed over."""

    whole_stamps = False

    def __init__(self, engine: Engine, target: Target, values: RowValues) -> None:
        self.size = CHUNK
        self._engine = engine
        self._target = target
        self._values = values
        with told(target.table):
            self._table = ready_table(engine, target, values, make=False)
        self._fit = fitters(engine, self._table, target, values)
        self._keys = tuple(target.name_of(key) for key in target.key)

    def write(self, chunk: Sequence[Arrived]) -> str:
        """Set the columns of the chunk's records in one transaction."""
        rows: list[Row] = [
            fit_row(self._fit, self._target, self._values.read(row)) for _, _, row in chunk
        ]
        with told(self._target.table):
            try:
                with self._engine.begin() as db:
                    update_by_key(db, self._table, self._keys, rows)
                    hit("sink.commit")
            except (DataError, IntegrityError) as exc:
                raise SinkRefused(
                    f"the table {self._target.table} refuses a chunk of answers",
                    code=MISFIT,
                    why=first_line(exc),
                    safe="nothing of the chunk was written; the outcomes stay in the registry",
                    next="mend the table or the option columns",
                ) from exc
        return ""

    def close(self) -> None:
        """Do nothing: the connections are the pool's."""
