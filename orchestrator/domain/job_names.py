"""What a job may be called: its name is typed in other commands."""

from __future__ import annotations

import re

from orchestrator.domain.errors import UsageError
from orchestrator.domain.spec import JobSpec

BAD_NAME = "ORC1302"
MAX_NAME = 200
_NO_NAME = re.compile(r"[/\\\s\x00-\x1f\x7f]+")
_RESERVED = ("all",)


def check_name(spec: JobSpec) -> JobSpec:
    """Return `spec` if its job can be named so. Raises UsageError (ORC1302)."""
    name = spec.name
    why = ""
    if not name or len(name) > MAX_NAME:
        why = f"it has {len(name)} characters; 1 to {MAX_NAME} are allowed"
    elif _NO_NAME.search(name) or not name.isprintable():
        why = "it holds a slash, a blank or a control character; JOB/b07 names a batch"
    elif name in _RESERVED or name.startswith(("@", "provider:", "-")):
        why = "other commands read it as something else"
    if why:
        raise UsageError(
            f'a job can\'t be named "{name[:80]}"',
            code=BAD_NAME,
            why=why,
            next=f"--name {job_name(name)[:MAX_NAME]}",
        )
    return spec


def job_name(text: str) -> str:
    """Return the legal job name nearest to `text`."""
    name = _NO_NAME.sub("-", text).strip("-@") or "job"
    return f"{name}-1" if name in _RESERVED else name
