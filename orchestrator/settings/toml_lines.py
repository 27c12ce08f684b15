"""Which line of a TOML file each key stands on; tomllib keeps no positions.

Reads only text that tomllib has accepted, so it looks for structure and checks nothing.
"""

from __future__ import annotations

import re
import tomllib

Path = tuple[str, ...]

_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\n]*")
_STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:[^"\\]|\\.)*"'),
    re.compile(r"'[^']*'"),
)


def line_numbers(text: str) -> dict[Path, int]:
    """Return the first line, counted from 1, of each key and table in `text`."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._line = 1
        self._counted = 0
        self._lines: dict[Path, int] = {}

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip(_GAP) < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _header(self) -> Path:
        while self._text[self._at] == "[":
            self._at += 1
        table = self._key(())
        while self._text.startswith("]", self._at):
            self._at += 1
        return table

    def _pair(self, table: Path) -> None:
        path = self._key(table)
        self._at += 1  # the equals sign
        self._value(path)

    def _key(self, path: Path) -> Path:
        """Read a dotted key; each part of it is a place of its own."""
        while True:
            self._skip(_BLANK)
            path = (*path, self._part())
            self._lines.setdefault(path, self._line_here())
            self._skip(_BLANK)
            if not self._text.startswith(".", self._at):
                return path
            self._at += 1

    def _part(self) -> str:
        match = next(
            found
            for pattern in (_BARE_KEY, _STRINGS[2], _STRINGS[3])
            if (found := pattern.match(self._text, self._at))
        )
        self._at = match.end()
        written = match.group(0)
        if written[0] in "\"'":
            return str(tomllib.loads(f"key = {written}")["key"])
        return written

    def _value(self, path: Path) -> None:
        self._skip(_BLANK)
        start = self._text[self._at]
        if start == "[":
            self._items(path, "]")
        elif start == "{":
            self._items(path, "}")
        elif not self._string():
            self._skip(_BARE_VALUE)

    def _items(self, path: Path, end: str) -> None:
        self._at += 1
        while not self._text.startswith(end, self._skip(_GAP)):
            if self._text[self._at] == ",":
                self._at += 1
            elif end == "}":
                self._pair(path)
            else:
                self._value(path)
        self._at += 1

    def _string(self) -> bool:
        for pattern in _STRINGS:
            if match := pattern.match(self._text, self._at):
                self._at = match.end()
                return True
        return False

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._at

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line
