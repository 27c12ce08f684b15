"""Sinks as the configuration declares them: a text, a table or a list of either -> SinkSpecs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.domain.delivering import is_local, is_reference, read_sink, sink_of
from orchestrator.domain.errors import ConfigError
from orchestrator.domain.spec import SinkSpec
from orchestrator.settings.references import SecretReference, SecretSource, follow

_SECRETS = ("secret", "url")


def read_sinks(raw: object, base: Path, home: Path) -> tuple[SinkSpec, ...]:
    """Return the sinks that `raw` declares; relative paths are meant from `base`.

    Raises ValueError with the reason.
    """
    given = raw if isinstance(raw, list) else [raw]
    return tuple(_placed(_one(each), base, home) for each in given)


def _one(raw: object) -> SinkSpec:
    if isinstance(raw, str):
        return read_sink(raw)
    if isinstance(raw, Mapping):
        return sink_of(dict(raw))
    raise ValueError('it takes a sink like { sql = "warehouse", table = "tags" }, or a list')


def _placed(sink: SinkSpec, base: Path, home: Path) -> SinkSpec:
    """Return `sink` with its paths made absolute, those of secrets too."""
    options = {
        name: _absolute(value, base, home) if name in _SECRETS else value
        for name, value in sink.options.items()
    }
    return located(sink, base, home, options)


def located(
    sink: SinkSpec, base: Path, home: Path, options: dict[str, Any] | None = None
) -> SinkSpec:
    """Return `sink` with the path of a local file made absolute."""
    place = str(_path(sink.location, base, home)) if is_local(sink) else sink.location
    return SinkSpec(
        location=place,
        format=sink.format,
        stream=sink.stream,
        options=sink.options if options is None else options,
    )


def secret_of(table: Mapping[str, Any], what: str, environ: Mapping[str, str]) -> str:
    """Return the secret that a reference in a sink leads to. Raises ConfigError (ORC1106, 1107)."""
    reference = SecretReference(
        tuple(SecretSource(place, _words(value)) for place, value in table.items())  # type: ignore[arg-type]  # checked when it was read
    )
    secret = follow(reference, what=what, environ=environ)
    if secret is None:
        raise ConfigError(
            f"{what} is in none of the places that are named for it",
            code="ORC1107",
            why=f"looked in {reference}",
            safe="nothing was sent; every outcome stays in the registry",
            next="put it where the sink looks for it, then: orchestrator resume JOB",
        )
    return secret.reveal()


def _words(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def _absolute(value: object, base: Path, home: Path) -> object:
    if isinstance(value, dict) and is_reference(value) and isinstance(value.get("file"), str):
        return {**value, "file": str(_path(value["file"], base, home))}
    return value


def _path(written: str, base: Path, home: Path) -> Path:
    if written == "~" or written.startswith("~/"):
        return home / written[2:]
    return base / written
