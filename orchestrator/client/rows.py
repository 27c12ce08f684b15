"""Records that are in memory, kept in a file for as long as they are read: twice, and typed.

A frame becomes an Arrow file, so that every type survives; mappings become JSON Lines. The same
records make the same file, by which a job that is submitted again is known for the same one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.domain.errors import SourceError
from orchestrator.sources.optional import needed
from orchestrator.sources.python_values import json_value

NOT_KEPT = "ORC1153"
_ROWS_A_BATCH = 10_000


def keep(source: object, folder: Path, name: str) -> Path:
    """Write the records of `source` to a file named after the job, and return it.

    Raises SourceError (ORC1153) for what is neither a table nor mappings, naming the record.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if hasattr(source, "__arrow_c_stream__") or hasattr(source, "collect_schema"):
        path = folder / f"{name}.arrow"
        with _told(name):
            _write_table(source, path)
        return path
    if isinstance(source, str | bytes | Mapping) or not isinstance(source, Iterable):
        raise _no_records(name, f"it is a {type(source).__name__}")
    path = folder / f"{name}.jsonl"
    _write_lines(source, path, name)
    return path


def _write_table(source: Any, path: Path) -> None:  # noqa: ANN401 - a frame of some library
    pa = needed("pyarrow", "a frame as a source")
    with _batches(pa, source) as (schema, batches), pa.OSFile(str(path), "wb") as file:
        # What a library notes for itself would make another file of the same records.
        plain = schema.remove_metadata()
        with pa.ipc.new_file(file, plain) as writer:
            for batch in batches:
                writer.write_batch(batch.replace_schema_metadata(None))


@contextmanager
def _batches(pa: Any, source: Any) -> Iterator[tuple[Any, Iterator[Any]]]:  # noqa: ANN401 - as above
    """Yield schema and batches; of a table in memory always the same batches."""
    if hasattr(source, "collect_schema") and hasattr(source, "collect"):
        source = source.collect()  # lazy frames of polars
    if type(source).__module__.partition(".")[0] == "pandas":
        source = _from_pandas(pa, source)
    elif hasattr(source, "to_arrow"):
        source = source.to_arrow()  # polars
    if isinstance(source, pa.Table):
        whole = source.combine_chunks()
        yield whole.schema, iter(whole.to_batches(max_chunksize=_ROWS_A_BATCH))
        return
    reader = pa.RecordBatchReader.from_stream(source)
    yield reader.schema, iter(reader)


def _from_pandas(pa: Any, frame: Any) -> Any:  # noqa: ANN401 - as above
    """Return a table; an index that has a name becomes a column."""
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    return pa.Table.from_pandas(frame, preserve_index=False)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Say an error of the table's library as ours: it names the column.

    What pyarrow can't write, such as a type of another library, is its `NotImplementedError`.
    """
    try:
        yield
    except (ValueError, TypeError, NotImplementedError) as error:
        raise _no_records(name, str(error).splitlines()[0][:200]) from error


def _write_lines(rows: Iterable[object], path: Path, name: str) -> None:
    encoder = msgspec.json.Encoder(enc_hook=_plain, decimal_format="string")
    with path.open("wb") as file:
        for number, row in enumerate(rows, 1):
            if not isinstance(row, Mapping):
                what = f"record {number:,} is a {type(row).__name__}, no mapping of columns"
                raise _no_records(name, what)
            try:
                file.write(_line(encoder, {_column(key): row[key] for key in row}) + b"\n")
            except (TypeError, ValueError, OverflowError) as error:
                raise _no_records(name, f"record {number:,}: {str(error)[:200]}") from None


def _line(encoder: msgspec.json.Encoder, row: Mapping[str, object]) -> bytes:
    """Return a record as JSON; NaN and infinities, which the encoder takes for null, by name."""
    line = encoder.encode(row)
    if b"null" not in line:
        return line
    return encoder.encode(_spelled(msgspec.to_builtins(row, enc_hook=_plain, str_keys=True)))


def _spelled(value: object) -> object:
    if isinstance(value, float):
        return json_value(float(value))
    if isinstance(value, dict):
        return {name: _spelled(item) for name, item in value.items()}
    return [_spelled(item) for item in value] if isinstance(value, list | tuple) else value


def _column(key: object) -> str:
    if isinstance(key, str):
        return key
    raise TypeError(f"the column {key!r} is not named by text")


def _plain(value: object) -> object:
    """Return the plain form of what JSON does not know: a scalar or array of NumPy and its like."""
    for method in ("tolist", "model_dump"):
        if hasattr(value, method):
            return getattr(value, method)()
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def _no_records(name: str, why: str) -> SourceError:
    return SourceError(
        f"the source of job {name} can't be kept",
        code=NOT_KEPT,
        why=why,
        safe="nothing was registered, nothing was sent",
        next="give a path, a frame, an Arrow table, or an iterable of mappings",
    )
