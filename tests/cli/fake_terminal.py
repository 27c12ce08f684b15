from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.cli.terminal import World

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


class Stream(io.StringIO):
    def __init__(self, text: str = "", *, tty: bool = False, encoding: str = "utf-8") -> None:
        super().__init__(text)
        self._tty = tty
        self._encoding = encoding

    @property
    def encoding(self) -> str:
        return self._encoding

    def isatty(self) -> bool:
        return self._tty


def a_world(
    tmp_path: Path,
    *,
    tty: bool = False,
    columns: int = 80,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    encoding: str = "utf-8",
) -> World:
    return World(
        stdin=Stream(stdin, tty=tty),
        stdout=Stream(tty=tty, encoding=encoding),
        stderr=Stream(tty=tty, encoding=encoding),
        environ={
            "HOME": str(tmp_path / "home"),
            "ORCHESTRATOR_SYSTEM_CONFIG": str(tmp_path / "system.toml"),
            "TZ": "UTC",
            "TERM": "xterm",
            **(env or {}),
        },
        now=lambda: NOON,
        columns=lambda: columns,
        cwd=tmp_path,
    )
