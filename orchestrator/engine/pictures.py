"""Pictures on disk: read below one folder only, since records say their paths."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from orchestrator.domain.errors import TemplateError

_WILD = "*?["
_WORD = ".pictures-start-from"


def keep_word(kept: Path, start: Path) -> None:
    """Note beside records that are `kept` in a folder of ours where their paths start from."""
    (kept / _WORD).write_text(str(start.absolute()), encoding="utf-8")


def folder_of(source: str) -> Path:
    """Return the folder that relative paths in records of `source` start from.

    That is where its file, or the fixed part of its pattern, lies; the current folder for a source
    that is no file, and what `keep_word` noted for one that was kept.
    """
    parts = Path(source).parts
    fixed = next((at for at, part in enumerate(parts) if set(part) & set(_WILD)), len(parts) - 1)
    folder = Path(*parts[: min(fixed, len(parts) - 1)])
    try:
        return Path((folder / _WORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return folder.absolute() if folder.is_dir() else Path.cwd()


class PictureFolder:
    """Reads pictures of at most `most` bytes below `folder`.

    A record comes from anybody: its path may not lead out of the folder, neither by `..` nor by
    being absolute. A link in the folder is the user's own word, and is followed.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most

    def load(self, path: str) -> bytes:
        """Return the bytes of the picture. Raises TemplateError saying why they can't be had."""
        whole = os.path.normpath(self._folder / path)
        if not Path(whole).is_relative_to(self._folder):
            raise TemplateError(
                f'"{path[:200]}" is not below {self._folder}: link its folder there, if it is meant'
            )
        try:
            # A pipe without a writer would hold up the opening for ever.
            descriptor = os.open(whole, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:  # noqa: PTH123 - opened above
                return self._read(file, path)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise TemplateError(f'"{path[:200]}" can\'t be read: {why.lower()}') from None

    def _read(self, file: BinaryIO, path: str) -> bytes:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise TemplateError(f'"{path[:200]}" is no file')
        if found.st_size > self._most:
            raise TemplateError(
                f'"{path[:200]}" has {found.st_size:,} bytes; one line holds a picture of at most '
                f"{self._most:,}"
            )
        return file.read(self._most)
