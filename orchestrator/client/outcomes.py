"""The outcomes of a job: one a record, read when they are asked for, in constant memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from orchestrator.api import exporting, outcomes
from orchestrator.client.answer_types import AnswerType
from orchestrator.client.looking import Look
from orchestrator.client.typed_rows import Typed
from orchestrator.domain.filters import Filter
from orchestrator.domain.model import Job
from orchestrator.domain.shape import read_shape
from orchestrator.sinks.files import Output, OutputStream
from orchestrator.sinks.folders import OutputFolder
from orchestrator.sinks.formats import asked_format
from orchestrator.sinks.places import is_folder, open_place
from orchestrator.sinks.port import OutcomeRow
from orchestrator.sources.optional import needed

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

_row = msgspec.json.Decoder(dict[str, Any]).decode
_any = msgspec.json.decode

Read = Callable[[str], Any]
Target = TypeVar("Target", str, Path)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a record has no answer: the provider's code, or ours, and words."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Outcome:
    """What became of one record.

    `state`: succeeded, failed, expired, cancelled, or open as long as nothing is recorded.
    `record`: the row of the source, typed. `text`: the answer as it came. `data`: the answer's
    JSON, checked, of a job with `answer`. `cost` covers all attempts, in `currency`. None where
    there is nothing to tell, or it is not known.
    """

    key: str
    state: str
    record: Mapping[str, Any]
    text: str | None = None
    data: Any = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: Decimal | None = None
    currency: str | None = None
    error: Failure | None = None
    attempts: int = 0
    batch: str | None = None
    checked: str | None = field(default=None, compare=False)
    read: Read = field(default=_any, compare=False)

    @property
    def outcome(self) -> str:
        """The state, by its name in exports."""
        return self.state

    @property
    def succeeded(self) -> bool:
        """Whether there is an answer."""
        return self.state == "succeeded"

    @property
    def answer(self) -> Any:  # noqa: ANN401 - the type that the job was given
        """The answer as the type that `JobSpec.answer` named, else its JSON; None without one.

        Raises TemplateError (ORC1152) where the type refuses what the schema allows.
        """
        return None if self.checked is None else self.read(self.checked)

    def __repr__(self) -> str:
        """Return one line, without what was asked and answered."""
        where = f" {self.batch}" if self.batch else ""
        why = f" {self.error.code}" if self.error else ""
        return f"<Outcome {self.key!r} {self.state}{where}{why}>"


class Outcomes:
    """The outcomes of a job that match a filter. Iterate as often as you like: each time anew.

    Holds a few thousand rows at a time; `to_arrow`, `to_polars` and `to_pandas` hold all of them.
    """

    def __init__(
        self, look: Look, job: Job, where: Filter = (), answer: AnswerType | None = None
    ) -> None:
        self._look = look
        self._job = job
        self._where = where
        self._answer = answer

    def __iter__(self) -> Iterator[Outcome]:
        """Yield the outcomes in the order of the source."""
        for chunk in self.chunks():
            yield from chunk

    def chunks(self) -> Iterator[list[Outcome]]:
        """Yield the outcomes some hundreds or thousands at a time."""
        job = self._look.again(self._job)
        typed = Typed(read_shape(job.shape).columns)
        currency = self._look.currency(job.provider)
        for chunk in outcomes.rows(self._look.registry, job, self._where, self._look.prices):
            records = typed.rows([_row(row.record) for row in chunk])
            yield [
                outcome_of(row, record, currency, self._answer)
                for row, record in zip(chunk, records, strict=True)
            ]

    def __len__(self) -> int:
        """Count them: at once without a filter, by a scan of the job's records with one."""
        return outcomes.count(self._look.registry, self._look.again(self._job), self._where)

    def to_arrow(self) -> pyarrow.Table:
        """Return a table: the source's columns, the outcome's, the answer's, all typed."""
        pa = needed("pyarrow", "a table of outcomes")
        kept = io.BytesIO()
        self._export(OutputStream(kept.write, kept.flush), "arrow")
        return pa.ipc.open_file(pa.py_buffer(kept.getbuffer())).read_all()

    def to_polars(self) -> polars.DataFrame:
        """Return a polars frame with the columns of `to_arrow`."""
        frame: polars.DataFrame = needed("polars", "a polars frame").from_arrow(self.to_arrow())
        return frame

    def to_pandas(self) -> pandas.DataFrame:
        """Return a pandas frame with the columns of `to_arrow`."""
        needed("pandas", "a pandas frame")
        return self.to_arrow().to_pandas()

    def to_parquet(self, target: Target) -> Target:
        """Write a Parquet file, whole or not at all, in constant memory; return `target`."""
        return self.to_file(target, format="parquet")

    def to_file(
        self,
        target: Target,
        *,
        format: str | None = None,  # noqa: A002 - the word of the command line
        raw: bool = False,
    ) -> Target:
        """Write the format that the ending of `target` says, whole or not at all; return `target`.

        A path, a folder for parts, or a URL of cloud storage. Raises SinkError, UsageError.
        """
        place, cwd = str(target), self._look.cwd
        parts = is_folder(place, cwd)
        kind = asked_format(f"{place}/" if parts else place, format)
        self._export(open_place(place, kind, cwd), kind, raw=raw)
        return target

    def _export(self, output: Output | OutputFolder, kind: str, *, raw: bool = False) -> None:
        exporting.export(
            self._look.registry,
            self._look.again(self._job),
            output,
            kind=kind,
            where=self._where,
            raw=raw,
            prices=self._look.prices,
        )

    def __repr__(self) -> str:
        """Return one line, without what was asked and answered."""
        some = "some " if self._where else ""
        return f"<Outcomes {some}of job {self._job.name!r}>"


def outcome_of(
    row: OutcomeRow, record: dict[str, Any], currency: str | None, answer: AnswerType | None
) -> Outcome:
    """Return the outcome that a row tells of, with its record as it is given."""
    failed = row.error_code is not None or row.error_message is not None
    return Outcome(
        key=row.key or "",
        state=row.outcome,
        record=record,
        text=row.text,
        data=None if row.answer is None else _any(row.answer),
        tokens_in=row.tokens_in,
        tokens_out=row.tokens_out,
        cost=None if row.cost is None else Decimal(row.cost),
        currency=None if row.cost is None else currency,
        error=Failure(row.error_code or "", row.error_message or "") if failed else None,
        attempts=row.attempts,
        batch=row.batch,
        checked=row.answer,
        read=_any if answer is None else answer.read,
    )
