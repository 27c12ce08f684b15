"""A workflow file: `[workflow]`, `[defaults]`, `[jobs.NAME]`; read and checked as settings are."""

from __future__ import annotations

from pathlib import Path

import msgspec

from orchestrator.domain.errors import ConfigError, NotFound
from orchestrator.domain.workflow import StagePlan, Workflow, workflow
from orchestrator.settings.configuration import Configuration
from orchestrator.settings.job_specs import job_spec
from orchestrator.settings.layers import ConfigFile, Origin, ReadFile, read_file
from orchestrator.settings.load import laid_over

NO_WORKFLOW = "ORC1134"
_OWN = ("workflow",)


def read_workflow(configuration: Configuration, path: Path, *, suffix: str = "") -> Workflow:
    """Read a workflow file over the defaults and providers of `configuration`.

    `suffix` goes behind the workflow's name and the names of its jobs, so that the same file makes
    another run. Raises NotFound (ORC1201), and ConfigError that names every problem with its line.
    """
    if not path.is_file():
        raise NotFound(f"there is no workflow file {path}", next="check its path")
    read = read_file(ConfigFile("project file", path, exists=True))
    name = _name(read)
    laid = laid_over(configuration, read, _OWN)
    if not laid.settings.jobs:
        raise _no_workflow(read, "it declares no job", "add a table [jobs.NAME] for each")
    jobs = [_stage(laid, key, suffix) for key in laid.settings.jobs]
    return workflow(_suffixed(name, suffix), jobs)


def _name(read: ReadFile) -> str:
    table = read.tables.get("workflow")
    if not isinstance(table, dict) or not isinstance(table.get("name"), str) or not table["name"]:
        raise _no_workflow(read, "it does not say what it is called", '[workflow] name = "..."')
    for key in table:
        if key != "name":
            why = f'"{key}" has no meaning there'
            raise _no_workflow(read, why, "[workflow] holds name alone", ("workflow", key))
    return str(table["name"])


def _no_workflow(
    read: ReadFile, why: str, remedy: str, path: tuple[str, ...] = ("workflow",)
) -> ConfigError:
    return ConfigError(
        f"{read.file.path.name} is no workflow",
        code=NO_WORKFLOW,
        where=str(Origin(read.file.layer, read.file.path, read.line(path))),
        why=why,
        safe="nothing was registered, nothing was sent",
        next=remedy,
    )


def _suffixed(name: str, suffix: str) -> str:
    return f"{name}-{suffix}" if suffix else name


def _stage(configuration: Configuration, key: str, suffix: str) -> StagePlan:
    spec = job_spec(configuration, key, staged=True)
    declared = configuration.job(key)
    where = str(configuration.origin(f"jobs.{key}.source.job"))
    name = _suffixed(spec.name, suffix)
    if declared.source.job is None:
        return StagePlan(
            spec=msgspec.structs.replace(spec, name=name),
            where=str(configuration.origin(f"jobs.{key}.source.file")),
        )
    upstream = declared.source.job
    if upstream in configuration.settings.jobs:
        other = configuration.job(upstream)
        upstream = _suffixed(other.name or other.spec, suffix)
    return StagePlan(
        spec=msgspec.structs.replace(spec, name=name, source=f"job:{upstream}"),
        upstream=upstream,
        stream=declared.source.stream,
        where=where,
    )
