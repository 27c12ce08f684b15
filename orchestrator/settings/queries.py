"""Statements of SQL that stand in files of their own."""

from __future__ import annotations

from pathlib import Path

from orchestrator.domain.errors import NotFound, SourceError

MAX_QUERY_BYTES = 1_000_000


def read_query(path: Path, help_line: str) -> str:
    """Return the statement in the file, at most 1 MB. Raises NotFound, SourceError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_QUERY_BYTES + 1)
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise NotFound(
            f"there is no file {path.name}",
            code="ORC2002",
            where=str(path),
            next=help_line,
        ) from None
    except OSError as error:
        raise _unreadable(path, error.strerror or type(error).__name__, help_line) from None
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not UTF-8 text", help_line) from None
    if len(content) > MAX_QUERY_BYTES:
        raise _unreadable(path, f"it is longer than {MAX_QUERY_BYTES:,} bytes", help_line)
    return text


def _unreadable(path: Path, why: str, help_line: str) -> SourceError:
    return SourceError(
        f"the query in {path.name} can't be read",
        code="ORC2003",
        where=str(path),
        why=why,
        next=help_line,
    )
