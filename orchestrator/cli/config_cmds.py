"""`orchestrator config`: is the configuration right, what is in force, and why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.command import group
from orchestrator.cli.output import Console
from orchestrator.cli.session import Session
from orchestrator.cli.tables import Column, Row, to_json
from orchestrator.domain.errors import ConfigError
from orchestrator.domain.money import Money
from orchestrator.domain.units import format_duration

if TYPE_CHECKING:
    from orchestrator.settings import Configuration, Origin, Value
    from orchestrator.settings.keys import Key
    from orchestrator.settings.keys import Path as KeyPath


@group(examples=("orchestrator config check", "orchestrator config explain defaults.window"))
def config() -> None:
    """Check, show and explain the configuration."""


@config.command(examples=("orchestrator config check", "orchestrator --env prod config check"))
@click.pass_obj
def check(session: Session) -> None:
    """Check every setting of every layer, and name each one that is wrong."""
    configuration = session.configuration
    files = [file for file in configuration.files if file.exists]
    data = {
        "files": [str(file.path) for file in files],
        "settings": len(configuration.values),
        "environment": configuration.env,
        "providers": list(configuration.settings.providers),
        "jobs": list(configuration.settings.jobs),
    }
    read = ", ".join(str(file.path) for file in files) or "no file, defaults only"
    number = len(configuration.values)
    text = f"ok: {number} {'setting' if number == 1 else 'settings'} from {read}"
    session.console.result("config.check", text, data)


@config.command(examples=("orchestrator config show", "orchestrator config show --all --json"))
@click.option("--all", "everything", is_flag=True, help="also what nobody set: the defaults")
@click.pass_obj
def show(session: Session, everything: bool) -> None:
    """Show the settings in force and where each comes from; secrets stay references."""
    rows = _in_force(session.configuration, everything)
    columns = (
        Column("key", "id"),
        Column("value"),
        Column("layer"),
        Column("from"),
        Column("file", shown=False),
        Column("line", shown=False),
    )
    empty = "nothing is set: every default holds (--all shows them)"
    session.console.table("config.show", rows, columns, empty=empty)


def _in_force(configuration: Configuration, everything: bool) -> Iterator[Row]:
    from orchestrator.settings import keys  # noqa: PLC0415 - help needs none of it
    from orchestrator.settings.layers import Origin  # noqa: PLC0415

    shown = {path: found[0] for path, found in configuration.values.items()}
    for path, value in shown.items():
        yield _row(path, value.value, value.origin)
    if everything:
        for path, key in keys.all_keys().items():
            if "*" not in path and path not in shown:
                yield _row(path, _default(configuration, key), Origin("default"))


def _row(path: KeyPath, value: object, origin: Origin) -> Row:
    from orchestrator.settings import keys  # noqa: PLC0415

    return {
        "key": keys.dotted(path),
        "value": written(value),
        "layer": origin.layer,
        "from": str(origin),
        "file": str(origin.file) if origin.file else None,
        "line": origin.line,
    }


def _default(configuration: Configuration, key: Key) -> object:
    """Return a default, worked out where it depends on the machine."""
    match key.name:
        case "registry.url":
            return configuration.default_registry_url
        case "spool.dir":
            return configuration.state_directory / "spool"
    return key.default


def written(value: object) -> str:
    """Return `value` as it is written in the file; a secret stays a reference."""
    from orchestrator.settings import SecretReference  # noqa: PLC0415
    from orchestrator.settings.schema import Size  # noqa: PLC0415

    match value:
        case None:
            return ""
        case Size():
            return to_json(value.written())
        case SecretReference():
            return str(value)
        case timedelta():
            return to_json(format_duration(value))
        case Money() | Path():
            return to_json(str(value))
    return to_json(value)


@config.command(examples=("orchestrator config explain defaults.retry.attempts",))
@click.argument("key")
@click.pass_obj
def explain(session: Session, key: str) -> None:
    """Show one setting in every layer, and which one wins."""
    from orchestrator.settings import keys  # noqa: PLC0415

    path = tuple(key.split("."))
    setting = keys.key_of(path)
    if setting is None:
        raise _unknown(path)
    rows = _layers(session.configuration, path, setting)
    winner = next(row for row in rows if row["wins"])
    data = {"key": key, "help": setting.help, "value": winner["value"], "layers": rows}

    def human(console: Console) -> None:
        console.say(f"{key} = {winner['value'] or 'not set'}")
        console.say(f"  {setting.help}")
        width = max(len(str(row["value"] or "-")) for row in rows)
        for row in rows:
            mark = ">" if row["wins"] else " "
            line = f"{mark} {row['layer']:<12}  {row['value'] or '-':<{width}}  {row['from'] or ''}"
            console.say(line.rstrip())

    session.console.document("config.explain", data, human)


def _layers(configuration: Configuration, path: KeyPath, setting: Key) -> list[Row]:
    from orchestrator.settings.layers import LAYERS  # noqa: PLC0415

    found = configuration.values.get(path, ())
    rows: list[Row] = []
    for layer in LAYERS[:-1]:
        here = [value for value in found if value.origin.layer == layer]
        rows += [_layer(layer, value, value is found[0]) for value in here]
        if not here:
            rows.append({"layer": layer, "value": None, "from": None, "wins": False})
    default = written(_default(configuration, setting))
    rows.append({"layer": "default", "value": default, "from": None, "wins": not found})
    return rows


def _layer(layer: str, value: Value, wins: bool) -> Row:
    return {
        "layer": layer,
        "value": written(value.value),
        "from": str(value.origin),
        "wins": wins,
    }


def _unknown(path: KeyPath) -> ConfigError:
    from orchestrator.settings import keys  # noqa: PLC0415

    name = keys.dotted(path)
    if waits_for := keys.later(path):
        return ConfigError(
            f'the setting "{name}" comes in a later release',
            code="ORC1103",
            why=f"{waits_for} are not there yet",
            next="orchestrator config schema",
        )
    below = [k.name for k in keys.all_keys().values() if k.name.startswith(f"{name}.")]
    hint = below[0] if below else keys.nearest(path)
    return ConfigError(
        f"{name} is a table of settings" if below else f'unknown setting "{name}"',
        code="ORC1102",
        next=f"orchestrator config explain {hint}" if hint else "orchestrator config show --all",
    )


@config.command(examples=("orchestrator config schema > orchestrator.schema.json",))
@click.pass_obj
def schema(session: Session) -> None:
    """Print the JSON Schema of the configuration file, for editors and checks."""
    from orchestrator.settings.json_schema import configuration_schema  # noqa: PLC0415

    text = to_json(configuration_schema(), indent=2)
    session.console.document("config.schema", configuration_schema(), lambda c: c.say(text))


@config.command(examples=("orchestrator config paths",))
@click.pass_obj
def paths(session: Session) -> None:
    """Show which files are looked for, in order of precedence, and where state is kept."""
    configuration = session.configuration
    rows: list[Row] = [
        {"what": file.layer, "path": str(file.path), "exists": file.exists}
        for file in configuration.files
    ]
    places = {
        "state": configuration.state_directory,
        "spool": configuration.spool_directory,
    }
    rows += [{"what": w, "path": str(p), "exists": p.exists()} for w, p in places.items()]
    rows.append({"what": "registry", "path": configuration.registry_label, "exists": None})
    columns = (Column("what", "id"), Column("path"), Column("exists"))
    session.console.table("config.paths", rows, columns)
