"""From a declared job spec to the JobSpec that `plan` and `submit` take."""

from __future__ import annotations

from orchestrator.domain.errors import ConfigError, NotFound, TemplateError
from orchestrator.domain.spec import JobSpec, Policy
from orchestrator.settings.configuration import Configuration
from orchestrator.settings.schema import JobDeclaration, JobRetry

MAX_TEMPLATE_BYTES = 1_000_000


def job_spec(configuration: Configuration, name: str) -> JobSpec:
    """Return the job spec `[jobs.NAME]` with the defaults filled in and its template read.

    The template is at most 1 MB. Raises NotFound (ORC1202, for its template ORC2104),
    TemplateError (ORC2103) and ConfigError (ORC1110) when nothing says which provider.
    """
    declared = configuration.job(name)
    defaults = configuration.settings.defaults
    body = dict(declared.request)
    asked = body.pop("model", None)
    model = declared.model or asked or defaults.model
    return JobSpec(
        name=declared.name or declared.spec,
        source=str(declared.source.file),
        source_format=declared.source.format,
        key=declared.key or declared.source.key,
        lines=declared.lines,
        prompt=declared.prompt,
        system=declared.system,
        template=_template(declared),
        provider=_provider(configuration, declared),
        model=model,
        body=body,
        endpoint=declared.endpoint,
        window=declared.window or defaults.window,
        on_duplicate=declared.on_duplicate,
        split_models=declared.split_models,
        limit=declared.limit,
        metadata=dict(declared.metadata),
        policy=policy(configuration, declared.retry, declared.delete_remote_files),
    )


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


def _template(declared: JobDeclaration) -> str | None:
    if declared.template is None:
        return None
    try:
        with declared.template.open("rb") as file:
            content = file.read(MAX_TEMPLATE_BYTES + 1)
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise NotFound(
            f"there is no template file {declared.template}",
            code="ORC2104",
            where=f"jobs.{declared.spec}.template",
            safe="nothing was registered, nothing was sent",
            next=f"orchestrator config explain jobs.{declared.spec}.template",
        ) from None
    except OSError as exc:
        raise _unreadable(declared, exc.strerror or type(exc).__name__) from None
    except UnicodeDecodeError:
        raise _unreadable(declared, "it is not UTF-8 text") from None
    if len(content) > MAX_TEMPLATE_BYTES:
        raise _unreadable(declared, f"it is longer than {MAX_TEMPLATE_BYTES:,} bytes")
    return text


def _unreadable(declared: JobDeclaration, why: str) -> TemplateError:
    return TemplateError(
        f"the template of job spec {declared.spec} can't be read",
        code="ORC2103",
        where=str(declared.template),
        why=why,
        next=f"orchestrator config explain jobs.{declared.spec}.template",
    )
