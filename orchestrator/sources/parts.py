"""A source of several files, read one after the other as if they were one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path

from orchestrator.domain.errors import NotFound, SourceError
from orchestrator.domain.intake import BadRow, Record
from orchestrator.domain.shape import Column, Shape, position_in
from orchestrator.sources import files, remote
from orchestrator.sources.optional import installed
from orchestrator.sources.port import Opening, Source

UNLIKE = "ORC2040"


def expanded(location: str, opening: Opening) -> list[str]:
    """Return the files that `location` names: one, one a line, or those that a pattern fits.

    Raises NotFound for a pattern that fits none.
    """
    found: list[str] = []
    for line in location.splitlines():
        found += _matching(line, opening) if line.strip() else []
    return found


def _matching(pattern: str, opening: Opening) -> list[str]:
    if not has_magic(pattern) or (opening.cwd / pattern).exists():
        return [pattern]
    if remote.is_url(pattern):
        found = remote.matching(pattern)
    else:
        paths = glob(pattern, root_dir=opening.cwd, recursive=True)  # noqa: PTH207 - relative and absolute ones alike
        found = sorted(path for path in paths if (opening.cwd / path).is_file())
    if not found:
        raise NotFound(
            f"no file fits {pattern}",
            code=files.MISSING,
            where=str(opening.cwd.absolute()),
            next="check the pattern, and what was to write the files",
        )
    return found


class Parts:
    """Several sources of one kind. A position holds which of them a row is from.

    Files with typed columns, or with a header, all have the same ones, in any order; of types that
    differ the wider one is told. JSON Lines may differ. Raises SourceError for files unlike.
    """

    def __init__(self, location: str, sources: Sequence[Source]) -> None:
        self.name = location if "\n" not in location else f"{len(sources):,} files"
        self._sources = sources
        self._shape = _merged(sources)

    @property
    def blank_rows(self) -> int:
        """Blank rows skipped so far by the latest pass."""
        return sum(source.blank_rows for source in self._sources)

    def shape(self) -> Shape:
        """Return the columns of all files, and which files there are."""
        return self._shape

    def digest(self) -> str:
        """Return the SHA-256 of the files' digests, in order."""
        sha = hashlib.sha256()
        for source in self._sources:
            sha.update(f"{source.digest()}\n".encode())
        return sha.hexdigest()

    def records(self) -> Iterator[Record | BadRow]:
        """Start a new pass from the first row of the first file."""
        for number, source in enumerate(self._sources):
            base = position_in(number, 0)
            for row in source.records():
                if isinstance(row, Record):
                    yield Record(base + row.position, row.data, row.raw)
                else:
                    yield BadRow(base + row.position, row.code, row.reason)


def _merged(sources: Sequence[Source]) -> Shape:
    shapes = [source.shape() for source in sources]
    columns = {column.name: column for column in shapes[0].columns}
    for source, shape in zip(sources[1:], shapes[1:], strict=True):
        _refuse_unlike(sources[0], shapes[0], source, shape)
        for column in shape.columns:
            before = columns.setdefault(column.name, column)
            columns[column.name] = _wider(before, column, source.name)
    counts = [shape.rows for shape in shapes]
    return Shape(
        columns=tuple(columns.values()),
        unit="line" if all(shape.unit == "line" for shape in shapes) else "row",
        parts=tuple(_short_names([source.name for source in sources])),
        rows=None if None in counts else sum(count or 0 for count in counts),
    )


def _refuse_unlike(first: Source, mine: Shape, source: Source, shape: Shape) -> None:
    if all(column.type is None for column in (*mine.columns, *shape.columns)):
        return
    lacking = [name for name in mine.names if name not in shape.names]
    further = [name for name in shape.names if name not in mine.names]
    if lacking or further:
        which = f'no column "{lacking[0]}"' if lacking else f'a further column "{further[0]}"'
        raise _unlike(source.name, f"it has {which}, unlike {first.name}")


def _wider(one: Column, other: Column, source: str) -> Column:
    """Return the column with the type that holds the values of both."""
    if one.type == other.type or one.type is None or other.type is None:
        return one if one.type == other.type else Column(one.name)
    if installed("pyarrow") is not None:
        import pyarrow as pa  # noqa: PLC0415 - optional

        from orchestrator.sources.arrow_types import type_of  # noqa: PLC0415 - needs pyarrow

        schemas = [pa.schema([(one.name, type_of(words))]) for words in (one.type, other.type)]
        try:
            both = pa.unify_schemas(schemas, promote_options="permissive")
            return Column(one.name, str(both.field(0).type))
        except pa.ArrowException:
            pass
    raise _unlike(source, f'its column "{one.name}" is {other.type}, before it was {one.type}')


def _unlike(source: str, why: str) -> SourceError:
    return SourceError(
        f"{source} does not go with the files before it",
        code=UNLIKE,
        why=why,
        safe="nothing was registered, nothing was sent",
        next="give all files the same columns, or submit them as jobs of their own",
    )


def _short_names(names: Sequence[str]) -> list[str]:
    """Return the file names alone where they tell the files apart."""
    short = [Path(name).name for name in names]
    return short if len(set(short)) == len(short) else list(names)
