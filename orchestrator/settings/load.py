"""Layers in, one checked configuration out; every problem is found in one go."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from orchestrator.domain.errors import ConfigError
from orchestrator.settings import build, keys, layers
from orchestrator.settings.configuration import Configuration, Value
from orchestrator.settings.layers import Origin, ReadFile, Written
from orchestrator.settings.schema import Settings
from orchestrator.settings.sources import source_problems
from orchestrator.settings.values import LiteralSecret, Place, UnfitValue, read_value

SCHEMA_VERSION = 1
_NAMED = ("providers", "jobs", "connections")
"""Tables whose sections carry names of the user's."""

_JOB = "job:"

_NO_FLAGS: Mapping[str, tuple[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where it stands."""

    message: str
    origin: Origin
    code: str = "ORC1101"
    why: str = ""
    next: str = "orchestrator config check"


@dataclass(slots=True)
class _Found:
    """What the layers hold so far."""

    written: list[Written] = field(default_factory=list)
    named: dict[keys.Path, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    environments: set[str] = field(default_factory=set)


def load(
    *,
    environ: Mapping[str, str],
    cwd: Path,
    config: Path | None = None,
    env: str | None = None,
    flags: Mapping[str, tuple[str, str]] = _NO_FLAGS,
) -> Configuration:
    """Return the configuration that holds for `cwd` and `environ`.

    `config` is the project file of `--config`, `env` the overlay of `--env` (else
    ORCHESTRATOR_ENV), `flags` maps a setting to its flag and text. Reads at most three files and
    follows no secret. Raises ConfigError that names every problem with its file and line.
    """
    home = Path(environ.get("HOME") or "/")
    files = layers.config_files(config, environ, cwd, home)
    chosen = env or environ.get("ORCHESTRATOR_ENV") or None
    found = _Found()
    for file in files:
        if file.exists:
            _take_file(layers.read_file(file), chosen, found)
    if chosen and chosen not in found.environments:
        raise _no_environment(chosen, found.environments)
    for value in (*layers.from_environment(environ, found.named), *layers.from_flags(flags)):
        _take(value, found)
    values = _read_all(found, cwd, home)
    settings = _settings(values, found)
    if found.problems:
        raise as_error(found.problems)
    return Configuration(
        settings=settings,
        values=values,
        env=chosen,
        files=tuple(files),
        environ=environ,
        cwd=cwd,
        home=home,
    )


def _take_file(read: ReadFile, chosen: str | None, found: _Found) -> None:
    file = read.file
    for name, value in read.tables.items():
        origin = Origin(file.layer, file.path, read.line((name,)))
        if name == "schema":
            _check_version(value, origin, found)
        elif name == "env":
            _take_overlays(read, value, chosen, found)
        else:
            for written in _leaves((name,), value, read, (), found):
                _take(written, found)


def laid_over(
    configuration: Configuration, read: ReadFile, others: Collection[str]
) -> Configuration:
    """Return `configuration` with the defaults and the job specs of one more file, and no others.

    The same checks and errors as for a configuration file. `others`: tables of the file that are
    read by somebody else. Raises ConfigError that names every problem with its line.
    """
    found = _Found()
    for name, value in read.tables.items():
        origin = Origin(read.file.layer, read.file.path, read.line((name,)))
        if name == "schema":
            _check_version(value, origin, found)
        elif name in ("defaults", "jobs"):
            for written in _leaves((name,), value, read, (), found):
                _take(written, found)
        elif name not in others:
            told = ", ".join(f"[{table}]" for table in (*others, "defaults", "jobs.NAME"))
            message = f'there is no place for "{name}" here'
            found.problems.append(Problem(message, origin, "ORC1102", f"the file takes {told}"))
    own = _read_all(found, configuration.cwd, configuration.home)
    values = {p: each for p, each in configuration.values.items() if p[0] != "jobs"}
    values |= {path: (*each, *values.get(path, ())) for path, each in own.items()}
    for name in ("providers", "connections"):
        for section in getattr(configuration.settings, name):
            found.named.setdefault((name, section), Origin("default"))
    settings = _settings(values, found)
    if found.problems:
        raise as_error(found.problems)
    return dataclasses.replace(configuration, settings=settings, values=values)


def _check_version(value: object, origin: Origin, found: _Found) -> None:
    if value != SCHEMA_VERSION:
        found.problems.append(
            Problem(f"schema = {value} is not known; this release reads {SCHEMA_VERSION}", origin)
        )


def _take_overlays(read: ReadFile, value: object, chosen: str | None, found: _Found) -> None:
    overlays = value if isinstance(value, dict) else {}
    if not isinstance(value, dict) or not all(isinstance(v, dict) for v in overlays.values()):
        origin = Origin(read.file.layer, read.file.path, read.line(("env",)))
        found.problems.append(Problem("env holds tables, [env.NAME]", origin))
        return
    for name, tables in overlays.items():
        found.environments.add(name)
        # An overlay that is not selected is checked all the same: a slip is found before its day.
        target = found if name == chosen else _Found(problems=found.problems)
        for key, inner in tables.items():
            for written in _leaves((key,), inner, read, ("env", name), target):
                _take(written, target)
        if target is not found:
            _read_all(target, Path("/"), Path("/"))


def _leaves(
    path: keys.Path, value: object, read: ReadFile, overlay: keys.Path, found: _Found
) -> Iterator[Written]:
    """Walk down to settings; what is neither a setting nor a table is left for `_take`."""
    origin = Origin(
        read.file.layer,
        read.file.path,
        read.line((*overlay, *path)),
        overlay=overlay[1] if overlay else "",
    )
    if len(path) == 2 and path[0] in _NAMED:
        found.named.setdefault(path, origin)
    is_table = keys.pattern_of(path) in keys.tables()
    if isinstance(value, dict) and is_table and keys.key_of(path) is None and not keys.later(path):
        for name, inner in value.items():
            yield from _leaves((*path, name), inner, read, overlay, found)
        return
    yield Written(path, value, origin)


def _take(written: Written, found: _Found) -> None:
    path = written.path
    if len(path) == 3 and path[0] == "jobs" and path[2] == "source":
        written = _spelled_out(written)
    name = keys.dotted(path)
    if what := keys.later(path):
        found.problems.append(
            Problem(
                f'the setting "{name}" comes in a later release',
                written.origin,
                "ORC1103",
                f"{what} are not there yet, and a setting that does nothing would mislead",
                "take it out",
            )
        )
    elif keys.key_of(written.path) is not None:
        found.written.append(written)
    elif keys.pattern_of(path) is not None:
        found.problems.append(Problem(f'"{name}" is a table, [{name}]', written.origin))
    else:
        found.problems.append(_unknown(path, written.origin))


def _spelled_out(written: Written) -> Written:
    """Return the source that a plain string means: a file, or another job."""
    path, raw, origin = written.path, written.raw, written.origin
    if isinstance(raw, str) and raw.startswith(_JOB):
        return Written((*path, "job"), raw.removeprefix(_JOB), origin)
    return Written((*path, "file"), raw, origin)


def _unknown(path: keys.Path, origin: Origin) -> Problem:
    near = keys.nearest(path)
    if near and origin.layer == "environment":
        near = layers.variable_for(tuple(near.split(".")))
    return Problem(
        f'unknown setting "{keys.dotted(path)}"',
        origin,
        "ORC1102",
        next=f"did you mean {near}?" if near else "orchestrator config schema lists them all",
    )


def _read_all(found: _Found, cwd: Path, home: Path) -> Mapping[keys.Path, tuple[Value, ...]]:
    values: dict[keys.Path, list[Value]] = {}
    for written in sorted(found.written, key=lambda value: value.rank):
        value = _read(written, cwd, home, found.problems)
        if value is not None:
            values.setdefault(written.path, []).append(value)
            if len(written.path) > 2 and written.path[0] in _NAMED:
                found.named.setdefault(written.path[:2], written.origin)
    return {path: tuple(candidates) for path, candidates in values.items()}


def _read(written: Written, cwd: Path, home: Path, problems: list[Problem]) -> Value | None:
    key, origin = keys.key_of(written.path), written.origin
    if key is None:
        return None
    place = Place(
        base=origin.file.parent if origin.file else cwd,
        home=home,
        variable=origin.name if origin.layer == "environment" else "",
        text=origin.file is None,
    )
    name = keys.dotted(written.path)
    try:
        return Value(read_value(key, written.raw, place), origin)
    except LiteralSecret as exc:
        problems.append(
            Problem(
                f'the setting "{name}" holds a secret',
                origin,
                "ORC1105",
                str(exc),
                f'keep it elsewhere and write: {key.path[-1]} = {{ env = "NAME" }}'
                ' or { file = "PATH" }',
            )
        )
    except (UnfitValue, ValueError) as exc:
        problems.append(Problem(f'the setting "{name}" is wrong', origin, why=str(exc)))
    return None


def _settings(values: Mapping[keys.Path, tuple[Value, ...]], found: _Found) -> Settings:
    tree: dict[str, Any] = {}
    for path in found.named:
        _branch(tree, path)
    for path, candidates in values.items():
        _branch(tree, path[:-1])[path[-1]] = candidates[0].value
    for path, origin in found.named.items():
        if path[0] == "jobs":
            found.problems.extend(_job_problems(path, origin, tree["jobs"][path[1]]))
    settings = build.settings(tree) if not found.problems else Settings()
    _check_daemon(settings, values, found)
    return settings


def _branch(tree: dict[str, Any], path: keys.Path) -> dict[str, Any]:
    for part in path:
        tree = tree.setdefault(part, {})
    return tree


def _job_problems(path: keys.Path, origin: Origin, job: Mapping[str, Any]) -> Iterator[Problem]:
    name = keys.dotted(path)
    for message, remedy in source_problems(name, job.get("source", {})):
        yield Problem(message, origin, next=remedy or "orchestrator config check")
    ways = [way for way in ("prompt", "template", "lines") if job.get(way)]
    if len(ways) != 1:
        have = " and ".join(ways) or "none of them"
        yield Problem(f"{name} takes one of prompt, template and lines; it has {have}", origin)
    if "canary" in job and "records" not in job["canary"]:
        yield Problem(f"{name}.canary does not say how many records go ahead", origin)


def _check_daemon(
    settings: Settings, values: Mapping[keys.Path, tuple[Value, ...]], found: _Found
) -> None:
    daemon = settings.daemon

    def wrong(setting: str, message: str) -> None:
        candidates = values.get(("daemon", setting))
        origin = candidates[0].origin if candidates else Origin("default")
        found.problems.append(Problem(message, origin))

    if daemon.poll_min > daemon.poll_max:
        wrong("poll_min", "daemon.poll_min is longer than daemon.poll_max")
    if daemon.tick < timedelta(milliseconds=100):
        wrong("tick", "daemon.tick is shorter than 100ms")
    if daemon.poll_min < timedelta(seconds=1):
        wrong("poll_min", "daemon.poll_min is shorter than 1s; providers would throttle")
    if daemon.lease < timedelta(seconds=10):
        wrong("lease", "daemon.lease is shorter than 10s; slow steps would be taken over")


def _no_environment(chosen: str, known: set[str]) -> ConfigError:
    listed = ", ".join(sorted(known)) or "none"
    return ConfigError(
        f'there is no environment "{chosen}"',
        code="ORC1108",
        why=f"no configuration file has a table [env.{chosen}]; there is {listed}",
        next="orchestrator config paths",
    )


def as_error(problems: list[Problem]) -> ConfigError:
    """Return one error for `problems`, the first code leading, the rest as details."""
    problems = sorted(problems, key=lambda p: (str(p.origin.file or "~"), p.origin.line or 0))
    first = problems[0]
    if len(problems) == 1:
        return ConfigError(
            first.message,
            code=first.code,
            where=str(first.origin),
            why=first.why,
            next=first.next,
        )
    return ConfigError(
        f"{len(problems)} settings are wrong",
        code=first.code,
        next="orchestrator config check -v",
        details=[_line(problem) for problem in problems],
    )


def _line(problem: Problem) -> str:
    why = f": {problem.why}" if problem.code == "ORC1101" and problem.why else ""
    hint = f"; {problem.next}" if problem.next.startswith("did you mean") else ""
    return f"{problem.origin}: {problem.message}{why}{hint}"
