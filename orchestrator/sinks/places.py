"""Where an export goes: a file, a folder of parts, or an object in cloud storage."""

from __future__ import annotations

from pathlib import Path

from orchestrator.sinks.files import OutputFile
from orchestrator.sinks.folders import OutputFolder
from orchestrator.sinks.remote_files import RemoteFile, is_url

Place = OutputFile | OutputFolder | RemoteFile


def is_folder(location: str, cwd: Path) -> bool:
    """Whether `location` means a folder: it ends with a slash, or there is one."""
    return not is_url(location) and (location.endswith("/") or path_of(location, cwd).is_dir())


def path_of(location: str, cwd: Path) -> Path:
    """Return the path that `location` is, seen from `cwd`."""
    return cwd / Path(location).expanduser()


def open_place(location: str, kind: str, cwd: Path) -> Place:
    """Open `location` for an export of the format `kind`. Raises SinkError, ConfigError."""
    if is_url(location):
        return RemoteFile(location)
    path = path_of(location, cwd)
    return OutputFolder(path, kind) if is_folder(location, cwd) else OutputFile(path)
