"""What the command line reaches for outside, handed in; and what each stream can show."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TextIO

ColourChoice = Literal["auto", "always", "never"]

_SGR = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "cyan": "36",
}


@dataclass(frozen=True)
class World:
    """Streams, clock, terminal size, environment and folder of one run.

    `now` is in UTC; `columns` is asked anew each time, since terminals are resized.
    """

    stdin: TextIO
    stdout: TextIO
    stderr: TextIO
    environ: Mapping[str, str]
    now: Callable[[], datetime]
    columns: Callable[[], int]
    cwd: Path


def real_world() -> World:
    """Return the world of this process."""
    return World(
        stdin=sys.stdin,
        stdout=sys.stdout,
        stderr=sys.stderr,
        environ=os.environ,
        now=lambda: datetime.now(UTC),
        columns=lambda: shutil.get_terminal_size((80, 24)).columns,
        cwd=Path.cwd(),
    )


def is_tty(stream: TextIO) -> bool:
    """Whether a person reads (or types) there."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def is_unicode(stream: TextIO) -> bool:
    """Whether the stream takes glyphs beyond ASCII."""
    return (stream.encoding or "").lower().replace("-", "").replace("_", "") in (
        "utf8",
        "utf16",
        "utf32",
    )


def shows_colour(stream: TextIO, environ: Mapping[str, str], choice: ColourChoice) -> bool:
    """Whether to colour: the flag, then NO_COLOR, FORCE_COLOR, TERM=dumb, then the terminal."""
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return environ.get("TERM") != "dumb" and is_tty(stream)


def styled(text: str, style: str) -> str:
    """Return `text` in `style` (a colour, bold or dim); an unknown style is none."""
    code = _SGR.get(style)
    return f"\x1b[{code}m{text}\x1b[0m" if code and text else text
