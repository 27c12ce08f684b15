"""From a job as Python declares it to the one that is planned and registered."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.app import App
from orchestrator.client import messages, rows
from orchestrator.client.answer_types import AnswerType
from orchestrator.client.sinks import sinks_of
from orchestrator.client.spec import JobSpec, Take
from orchestrator.domain import spec as domain
from orchestrator.domain.errors import ConfigError, UsageError
from orchestrator.domain.job_names import check_name
from orchestrator.domain.units import parse_duration
from orchestrator.engine.pictures import keep_word
from orchestrator.settings import Configuration, job_and_files, policy
from orchestrator.settings.schema import JobRetry
from orchestrator.settings.templates import Files, laid_over, read_template
from orchestrator.sources.filtered import Filtered
from orchestrator.sources.port import Opening
from orchestrator.sources.recognising import recognised
from orchestrator.sources.registry import open_source


@dataclass(frozen=True)
class Declared:
    """A job ready to be planned: what is registered, and what only this process knows of it.

    `files` are those that its template and schema were read from, `takers` the functions among
    its sinks.
    """

    spec: domain.JobSpec
    answer: AnswerType | None = None
    files: Files = field(default_factory=dict)
    takers: tuple[Take, ...] = ()


def declare(app: App, wanted: JobSpec | str, folder: Path) -> Declared:
    """Return the job that `wanted` declares; text is the name of one of the configuration.

    Records in memory are kept in a file below `folder`, which has to stay until the job is
    registered. Raises SourceError, TemplateError, ConfigError, UsageError.
    """
    if isinstance(wanted, str):
        spec, files = job_and_files(app.configuration, wanted)
        return Declared(spec, None, files)
    answer = AnswerType(wanted.answer) if wanted.answer is not None else None
    spec = check_name(_plain(app.configuration, wanted, answer))
    spec, files = _over_template(spec, wanted)
    takers = tuple(sink for sink in wanted.sinks if callable(sink))
    return Declared(_with_source(spec, wanted, app.opening(), folder), answer, files, takers)


def _plain(
    configuration: Configuration, wanted: JobSpec, answer: AnswerType | None
) -> domain.JobSpec:
    """Return everything but the source."""
    defaults = configuration.settings.defaults
    return domain.JobSpec(
        name=wanted.name,
        source="",
        source_format=wanted.source_format,
        source_options=dict(wanted.source_options),
        key=_key(wanted),
        lines=wanted.lines,
        prompt=wanted.prompt,
        system=wanted.system,
        template=wanted.template if isinstance(wanted.template, str) else None,
        images=tuple(wanted.images),
        overrides=dict(wanted.overrides),
        provider=_provider(configuration, wanted),
        model=wanted.model or defaults.model,
        body=_json(wanted.body),
        endpoint=wanted.endpoint,
        window=wanted.window or defaults.window,
        where=wanted.where,
        limit=wanted.limit,
        on_duplicate=wanted.on_duplicate,
        split_models=wanted.split_models,
        metadata=dict(wanted.metadata),
        answer=answer.answer(repair=wanted.repair, native=wanted.native) if answer else None,
        series=wanted.series or wanted.name,
        changed_only=wanted.changed_only,
        dedup=wanted.dedup,
        cache=bool(wanted.cache),
        cache_max_age=_age(wanted.cache),
        budget=wanted.budget,
        canary=_canary(wanted),
        sinks=sinks_of(configuration, [it for it in wanted.sinks if not callable(it)]),
        policy=policy(configuration, _retry(wanted), wanted.delete_remote_files),
    )


def _with_source(
    spec: domain.JobSpec, wanted: JobSpec, opening: Opening, folder: Path
) -> domain.JobSpec:
    """Return `spec` with a source that can be read twice, and with its key."""
    spec = msgspec.structs.replace(spec, source=_location(wanted, folder))
    opened = open_source(
        spec.source, spec.source_format, options=spec.source_options, opening=opening
    )
    spec = recognised(spec, opened, made=wanted.messages is not None)
    if wanted.messages is None:
        return spec
    path = _new_folder(folder) / f"{spec.name}.{domain.RENDERED}"
    chosen = Filtered(opened, spec.where) if spec.where else opened
    messages.render(chosen, wanted.messages, path, limit=spec.limit)
    return msgspec.structs.replace(
        spec, source=str(path), source_format=domain.RENDERED, source_options={}
    )


def _location(wanted: JobSpec, folder: Path) -> str:
    """Return where the records are; those in memory are kept in a file first."""
    source = wanted.source
    if isinstance(source, str | Path):
        return _absolute(source)
    if isinstance(source, list | tuple) and source and all(map(_is_path, source)):
        return "\n".join(_absolute(path) for path in source)
    return str(rows.keep(source, _new_folder(folder), wanted.name))


def _is_path(item: object) -> bool:
    return isinstance(item, str | Path)


def _absolute(source: str | Path) -> str:
    """Return a path from the root: whoever looks at the job later may stand elsewhere."""
    text = str(source)
    elsewhere = "://" in text or text.startswith(("job:", "sql:"))
    return text if elsewhere else str(Path(text).expanduser().absolute())


def _new_folder(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = Path(tempfile.mkdtemp(dir=parent))
    keep_word(folder, Path.cwd())
    return folder


def _key(wanted: JobSpec) -> str | None:
    if wanted.key is None or isinstance(wanted.key, str):
        return wanted.key
    return ",".join(wanted.key)


def _provider(configuration: Configuration, wanted: JobSpec) -> str:
    name = wanted.provider or configuration.default_provider()
    if name is None:
        raise ConfigError(
            f"nothing says where job {wanted.name} goes",
            code="ORC1110",
            why="it names no provider, and there is not exactly one to choose",
            next='JobSpec(provider="kimi"), or set defaults.provider',
        )
    return configuration.provider(name).name


def _over_template(spec: domain.JobSpec, wanted: JobSpec) -> tuple[domain.JobSpec, Files]:
    """Return `spec` with what the file of its template says where it says nothing itself."""
    if not isinstance(wanted.template, Path):
        return spec, {}
    read = read_template(wanted.template, help_line="check the path of JobSpec(template=...)")
    said = {name for name in ("system", "model", "images", "answer") if getattr(wanted, name)}
    changes = {name: value for name, value in read.changes.items() if name not in said}
    for name in changes.keys() & {"body", "overrides"}:
        changes[name] = {**changes[name], **getattr(spec, name)}
    return laid_over(spec, changes), read.files


def _json(body: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dict(body)))
    return plain


def _retry(wanted: JobSpec) -> JobRetry:
    """Read `retry` as the configuration's own table is read."""
    given = dict(wanted.retry)
    try:
        if unknown := given.keys() - set(JobRetry.__struct_fields__):
            raise ValueError(f"it has no {', '.join(sorted(unknown))}")  # noqa: TRY301 - told below
        if isinstance(given.get("back_off"), str):
            given["back_off"] = parse_duration(given["back_off"])
        return msgspec.convert(given, JobRetry, strict=True)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"retry of job {wanted.name} is wrong",
            why=str(error),
            next='retry={"attempts": 5, "back_off": "10m"}',
        ) from None


def _age(cache: bool | str) -> int | None:
    if isinstance(cache, bool):
        return None
    try:
        return int(parse_duration(cache).total_seconds())
    except ValueError as error:
        raise UsageError(
            "cache is no age", why=str(error), next='cache=True or cache="7d"'
        ) from None


def _canary(wanted: JobSpec) -> domain.Canary | None:
    if wanted.canary is None:
        return None
    return domain.Canary(records=wanted.canary, require=tuple(wanted.require))
