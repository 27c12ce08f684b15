"""A folder of parts that appears whole or not at all: filled beside its place, then renamed."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator.domain.errors import SinkError
from orchestrator.sinks.files import Output, OutputFile, sync_folder, told
from orchestrator.sinks.port import Block, OutcomeRow, Sink, put

PART_ROWS = 1_000_000
"""A part is complete when it has so many rows or a few more."""

_PART = re.compile(r"part-\d{5}\.\w+")


class OutputFolder:
    """A new folder at `path`, replacing an earlier export in one; never one with other files.

    Raises SinkError (ORC6002) for a place that may not be written to, or holds something else.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self.path = path
        self._kind = kind
        self._target = path.resolve()
        self._filled: Path | None = None
        self._parts = 0
        with told(path):
            self._refuse_others()
            beside = f".{self._target.name}.{secrets.token_hex(4)}.part"
            filled = self._target.with_name(beside)
            filled.mkdir()
            self._filled = filled

    def _refuse_others(self) -> None:
        if not self._target.is_dir():
            return
        other = next((f.name for f in self._target.iterdir() if not _PART.fullmatch(f.name)), None)
        if other is not None:
            raise SinkError(
                f"{self.path} is a folder that holds other files",
                code="ORC6002",
                why=f"{other} is no part of an export, and an export takes the folder's place",
                safe="nothing was written",
                next=f"name a file in it, or a folder of its own: -o {self.path}/outcomes/",
            )

    def part(self) -> Output:
        """Open the next part."""
        if self._filled is None:
            raise AssertionError("the folder is complete")
        self._parts += 1
        return OutputFile(self._filled / f"part-{self._parts:05d}.{self._kind}")

    def close(self) -> None:
        """Put the folder in its place; an earlier export there is gone then."""
        if self._filled is None:
            return
        with told(self.path):
            old = self._filled.with_suffix(".old")
            if self._target.is_dir():
                self._target.rename(old)
            self._filled.rename(self._target)
            self._filled = None
            sync_folder(self._target.parent)
            shutil.rmtree(old, ignore_errors=True)

    def abandon(self) -> None:
        """Remove what was filled so far."""
        if self._filled is not None:
            shutil.rmtree(self._filled, ignore_errors=True)
            self._filled = None


class PartsSink:
    """Writes parts one after the other, each a whole file."""

    def __init__(self, folder: OutputFolder, open_part: Callable[[Output], Sink]) -> None:
        self._folder = folder
        self._open_part = open_part
        self._rows = 0
        self._part = open_part(folder.part())

    def write(self, rows: Sequence[OutcomeRow]) -> None:
        """Write a row for each."""
        self._begin(len(rows))
        self._part.write(rows)

    def write_block(self, block: Block) -> None:
        """Write rows that stand side by side."""
        self._begin(len(block.outcome))
        put(self._part, block)

    def close(self) -> None:
        """Complete the last part, then the folder."""
        self._part.close()
        self._folder.close()

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._part.abandon()
        self._folder.abandon()

    def _begin(self, rows: int) -> None:
        """Go on to the next part if this one is full."""
        if self._rows >= PART_ROWS:
            self._part.close()
            self._part = self._open_part(self._folder.part())
            self._rows = 0
        self._rows += rows
