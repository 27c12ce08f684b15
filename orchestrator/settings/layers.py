"""Where settings are written: files, environment variables, flags; each value with its origin.

Highest first: flag, environment, project file, user file, system file, default. In one file the
selected `[env.NAME]` overlays the rest of that file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orchestrator.domain.errors import ConfigError
from orchestrator.settings import keys, toml_lines

Layer = Literal["flag", "environment", "project file", "user file", "system file", "default"]
LAYERS: tuple[Layer, ...] = (
    "flag",
    "environment",
    "project file",
    "user file",
    "system file",
    "default",
)
MAX_FILE_BYTES = 1_000_000
PREFIX = "ORCHESTRATOR_"
SYSTEM_FILE = Path("/etc/orchestrator/config.toml")
PROJECT_FILES = ("orchestrator.toml", "config/orchestrator.toml")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one value stands. `overlay` is the environment whose overlay of the file it is."""

    layer: Layer
    file: Path | None = None
    line: int | None = None
    name: str = ""
    overlay: str = ""

    def __str__(self) -> str:
        if self.file is not None:
            at = f"{self.file} line {self.line}" if self.line else str(self.file)
            return f"{at} (env {self.overlay})" if self.overlay else at
        return {"environment": f"variable {self.name}", "flag": f"flag {self.name}"}.get(
            self.layer, "default"
        )


@dataclass(frozen=True, slots=True)
class Written:
    """One value as written, not yet read. `rank` is 0 for the strongest layer."""

    path: keys.Path
    raw: object
    origin: Origin

    @property
    def rank(self) -> tuple[int, bool]:
        """Sorts stronger layers first, an overlay before the rest of its file."""
        return LAYERS.index(self.origin.layer), not self.origin.overlay


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One place where a file is looked for."""

    layer: Layer
    path: Path
    exists: bool


def project_file(flag: Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """Return the project file: the flag's, the variable's, or the nearest one upward."""
    named = flag or (
        Path(environ["ORCHESTRATOR_CONFIG"]) if environ.get("ORCHESTRATOR_CONFIG") else None
    )
    if named is not None:
        return cwd / named
    for folder in (cwd, *cwd.parents):
        for name in PROJECT_FILES:
            if (folder / name).is_file():
                return folder / name
    return None


def config_files(
    flag: Path | None, environ: Mapping[str, str], cwd: Path, home: Path
) -> list[ConfigFile]:
    """Return the places of configuration files, strongest first.

    A file that the user named and that is not there is an error (ORC1104); others may be missing.
    """
    project = project_file(flag, environ, cwd)
    if project is not None and not project.is_file():
        raise ConfigError(
            f"the configuration file {project} is not there",
            code="ORC1104",
            where="--config" if flag else "variable ORCHESTRATOR_CONFIG",
            next="name another file, or: orchestrator init",
        )
    user_folder = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    places: list[tuple[Layer, Path]] = [
        ("project file", project or cwd / PROJECT_FILES[0]),
        ("user file", user_folder / "orchestrator" / "config.toml"),
        ("system file", Path(environ.get("ORCHESTRATOR_SYSTEM_CONFIG") or SYSTEM_FILE)),
    ]
    return [ConfigFile(layer, path, path.is_file()) for layer, path in places]


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file's tables and the line of each key."""

    file: ConfigFile
    tables: Mapping[str, object]
    lines: Mapping[keys.Path, int]

    def line(self, path: keys.Path) -> int | None:
        """Return the line of `path`, or of the nearest table around it."""
        return next(
            (self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), None
        )


def read_file(file: ConfigFile) -> ReadFile:
    """Read one TOML file of at most 1 MB. Raises ConfigError (ORC1104)."""
    try:
        with file.path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise _unreadable(file, exc.strerror or type(exc).__name__) from None
    if len(content) > MAX_FILE_BYTES:
        raise _unreadable(file, f"it is longer than {MAX_FILE_BYTES:,} bytes")
    try:
        text = content.decode("utf-8-sig")
        tables = tomllib.loads(text)
    except UnicodeDecodeError:
        raise _unreadable(file, "it is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as exc:
        raise _unreadable(file, f"it is not TOML: {exc}") from None
    except RecursionError:
        raise _unreadable(file, "it is nested too deep") from None
    return ReadFile(file, tables, toml_lines.line_numbers(text))


def _unreadable(file: ConfigFile, why: str) -> ConfigError:
    return ConfigError(
        f"the configuration file {file.path} can't be read",
        code="ORC1104",
        why=why[:1].lower() + why[1:],
        next="orchestrator config check",
    )


def from_flags(flags: Mapping[str, tuple[str, str]]) -> Iterator[Written]:
    """Yield the values of flags: setting -> (flag, text)."""
    for setting, (flag, text) in flags.items():
        yield Written(tuple(setting.split(".")), text, Origin("flag", name=flag))


def from_environment(environ: Mapping[str, str], named: Collection[keys.Path]) -> Iterator[Written]:
    """Yield the settings among the environment variables.

    Only names with a double underscore are settings: Kubernetes adds ORCHESTRATOR_PORT and the
    like for a service of that name. `named` holds the tables that files declare, so that
    ORCHESTRATOR_JOBS__NIGHTLY_TAGS__MODEL finds `nightly-tags`.
    """
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and "__" in variable.removeprefix(PREFIX):
            parts = tuple(variable.removeprefix(PREFIX).lower().split("__"))
            yield Written(
                _as_declared(parts, named),
                environ[variable],
                Origin("environment", name=variable),
            )


def _as_declared(parts: keys.Path, named: Collection[keys.Path]) -> keys.Path:
    for path in sorted(named):
        if tuple(part.lower().replace("-", "_") for part in path) == parts[: len(path)]:
            return (*path, *parts[len(path) :])
    return parts


def variable_for(path: keys.Path) -> str:
    """Return the environment variable that sets `path`."""
    return PREFIX + "__".join(part.upper().replace("-", "_") for part in path)
