"""From a declared job spec to the JobSpec that `plan` and `submit` take."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from orchestrator.domain.errors import ConfigError
from orchestrator.domain.spec import Canary, JobSpec, Policy
from orchestrator.settings.configuration import Configuration
from orchestrator.settings.schema import JobDeclaration, JobRetry
from orchestrator.settings.sources import location_of, options_of
from orchestrator.settings.templates import Files, Read, laid_over, read_answer, read_template


def job_spec(configuration: Configuration, name: str, *, staged: bool = False) -> JobSpec:
    """Return the job spec `[jobs.NAME]` with the defaults filled in and its template read.

    Raises what `job_and_files` does.
    """
    return job_and_files(configuration, name, staged=staged)[0]


def job_and_files(
    configuration: Configuration, name: str, *, staged: bool = False
) -> tuple[JobSpec, Files]:
    """Return the job spec `[jobs.NAME]`, and the files that its template and schema were read from.

    `staged`: as part of a workflow. What the job spec says itself stands before what its template
    says. Raises NotFound (ORC1202, for its template ORC2104), TemplateError (ORC2103 to 2106) and
    ConfigError: ORC1110 when nothing says which provider, ORC1135 for what has a meaning in a
    workflow only.
    """
    declared = configuration.job(name)
    if declared.source.stream and not staged:
        raise _only_in_a_workflow(configuration, name)
    template, answer = _template(declared), _answer(declared)
    base = laid_over(_base(configuration, declared), template.changes)
    body = {**base.body, **declared.request}
    asked = body.pop("model", None)
    model = declared.model or asked or base.model or configuration.settings.defaults.model
    own: dict[str, Any] = {**answer.changes, "body": body, "model": model}
    own["overrides"] = {**base.overrides, **declared.overrides}
    said = {"system": declared.system, "images": declared.images or None}
    own |= {name: value for name, value in said.items() if value is not None}
    return msgspec.structs.replace(base, **own), {**template.files, **answer.files}


def _base(configuration: Configuration, declared: JobDeclaration) -> JobSpec:
    """Return all that no template says."""
    return JobSpec(
        name=declared.name or declared.spec,
        source=location_of(declared.source),
        source_format=declared.source.format,
        source_options=options_of(declared),
        where=declared.source.where or "",
        key=declared.key or declared.source.key,
        lines=declared.lines,
        prompt=declared.prompt,
        provider=_provider(configuration, declared),
        endpoint=declared.endpoint,
        window=declared.window or configuration.settings.defaults.window,
        on_duplicate=declared.on_duplicate,
        split_models=declared.split_models,
        limit=declared.limit,
        series=declared.spec,
        changed_only=declared.changed_only,
        metadata=dict(declared.metadata),
        dedup=declared.dedup,
        cache=declared.cache is not False,
        cache_max_age=_seconds(declared.cache),
        policy=policy(configuration, declared.retry, declared.delete_remote_files),
        sinks=declared.sink,
        budget=None if declared.budget is None else str(declared.budget),
        canary=_canary(declared),
    )


def _template(declared: JobDeclaration) -> Read:
    if declared.template is None:
        return Read({})
    explain = f"orchestrator config explain jobs.{declared.spec}.template"
    return read_template(declared.template, owner=declared.spec, help_line=explain)


def _answer(declared: JobDeclaration) -> Read:
    table = declared.answer
    if table.schema is None:
        return Read({})
    return read_answer(
        table.schema,
        name=table.name or "answer",
        native=table.native,
        repair=table.repair is not False,
    )


def _only_in_a_workflow(configuration: Configuration, name: str) -> ConfigError:
    setting = f"jobs.{name}.source.stream"
    return ConfigError(
        f"{setting} is for a stage of a workflow",
        code="ORC1135",
        where=str(configuration.origin(setting)),
        why="a job that is submitted takes the outcomes of one that has ended",
        next="leave it out, or move both jobs to a file for: orchestrator apply",
    )


def _seconds(age: bool | timedelta) -> int | None:
    """Return an age in whole seconds, None for any."""
    return None if isinstance(age, bool) else max(1, int(age.total_seconds()))


def _canary(declared: JobDeclaration) -> Canary | None:
    canary = declared.canary
    if canary.records is None:
        return None
    return Canary(records=canary.records, require=tuple(canary.require))


_NOTHING_SET = JobRetry()


def policy(
    configuration: Configuration,
    retry: JobRetry = _NOTHING_SET,
    delete_remote_files: bool | None = None,
) -> Policy:
    """Return what is tried again: `retry` over `[defaults] retry`."""
    defaults = configuration.settings.defaults
    back_off = defaults.retry.back_off if retry.back_off is None else retry.back_off
    return Policy(
        attempts=retry.attempts or defaults.retry.attempts,
        rounds=retry.rounds or defaults.retry.rounds,
        on_expired=retry.on_expired or defaults.retry.on_expired,
        on_missing=retry.on_missing or defaults.retry.on_missing,
        on_cancelled=retry.on_cancelled or defaults.retry.on_cancelled,
        delete_remote_files=(
            defaults.delete_remote_files if delete_remote_files is None else delete_remote_files
        ),
        linger_seconds=int(back_off.total_seconds()),
    )


def _provider(configuration: Configuration, declared: JobDeclaration) -> str:
    name = declared.provider or configuration.default_provider()
    if name is None:
        raise ConfigError(
            f"nothing says where job spec {declared.spec} goes",
            code="ORC1110",
            why="it names no provider, and there is not exactly one to choose",
            next=f"set jobs.{declared.spec}.provider or defaults.provider",
        )
    return configuration.provider(name).name
