"""Template files: a prompt in Jinja syntax, or a TOML file that holds all of a request.

What a template names besides, a schema, is read with it. Every file is told by its path and the
SHA-256 of its text, so that a plan can refuse what was changed since.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from orchestrator.domain.errors import NotFound, TemplateError
from orchestrator.domain.near_names import did_you_mean
from orchestrator.domain.spec import Answer, JobSpec

MAX_BYTES = 1_000_000
"""Of one template or schema."""

UNREADABLE = "ORC2103"
MISSING = "ORC2104"
NO_TEMPLATE = "ORC2105"
NO_SCHEMA = "ORC2106"

_SAFE = "nothing was registered, nothing was sent"

Files = Mapping[str, str]
"""Absolute paths, each with the SHA-256 of the text that was read there."""


@dataclass(frozen=True)
class Read:
    """What a file gave, and the files it was read from."""

    changes: Mapping[str, Any]
    files: Files = field(default_factory=dict)


class _AnswerTable(msgspec.Struct, forbid_unknown_fields=True):
    schema: str | dict[str, Any]
    name: str = "answer"
    native: bool | None = None
    repair: bool = True


class _Template(msgspec.Struct, forbid_unknown_fields=True):
    user: str
    system: str | None = None
    model: str | None = None
    images: str | list[str] = []
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    answer: _AnswerTable | None = None
    body: dict[str, Any] = {}
    overrides: dict[str, Any] = {}


# Made at import, by one thread: see the end of `domain.profile`.
msgspec.convert({"user": ""}, _Template)

_OF_THE_BODY = ("tools", "tool_choice", "response_format")


def read_template(path: Path, *, owner: str = "", help_line: str) -> Read:
    """Return what the template at `path` says of a JobSpec, by the names of its fields.

    `owner` is the job spec that names it, `help_line` what to do when it is wrong. Raises
    NotFound (ORC2104), TemplateError: ORC2103 for a file that can't be read, ORC2105 for TOML that
    is no template, ORC2106 and ORC2110 for its schema.
    """
    try:
        text, digest = _read(path)
    except FileNotFoundError:
        raise NotFound(
            f"there is no template file {path}",
            code=MISSING,
            where=f"jobs.{owner}.template" if owner else "",
            safe=_SAFE,
            next=help_line,
        ) from None
    except (OSError, ValueError) as error:
        raise TemplateError(
            f"the template{f' of job spec {owner}' if owner else ''} can't be read",
            code=UNREADABLE,
            where=str(path),
            why=_why(error),
            next=help_line,
        ) from None
    files = {str(path.absolute()): digest}
    if path.suffix.lower() != ".toml":
        return Read({"template": text}, files)
    return _from_toml(path, text, files)


def read_answer(path: Path, **more: Any) -> Read:  # noqa: ANN401 - the fields of Answer
    """Return the answer whose schema is in the file at `path`. Raises NotFound, TemplateError."""
    try:
        text, digest = _read(path)
        schema = msgspec.json.decode(text, type=dict[str, Any])
    except FileNotFoundError:
        raise NotFound(
            f"there is no schema file {path}",
            code=NO_SCHEMA,
            safe=_SAFE,
            next="check the path given with --answer or [answer] schema",
        ) from None
    except (OSError, ValueError, msgspec.DecodeError, RecursionError) as error:
        raise TemplateError(
            "the answer's schema can't be read",
            code=NO_SCHEMA,
            where=str(path),
            why=_why(error),
            next="a schema is a JSON object in UTF-8, at most 1 MB",
        ) from None
    return Read({"answer": Answer(schema=schema, **more)}, {str(path.absolute()): digest})


def laid_over(spec: JobSpec, changes: Mapping[str, Any]) -> JobSpec:
    """Return `spec` with what a template says; fields of the body are added to its own."""
    given = dict(changes)
    for name in ("body", "overrides"):
        if name in given:
            given[name] = {**getattr(spec, name), **given[name]}
    return msgspec.structs.replace(spec, **given)


def changed_since(files: Files) -> str:
    """Return the first of `files` that no longer holds what was read; empty if all do."""
    for path, digest in files.items():
        try:
            if _read(Path(path))[1] != digest:
                return path
        except (OSError, ValueError):
            return path
    return ""


def _read(path: Path) -> tuple[str, str]:
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it is longer than {MAX_BYTES:,} bytes")
    # A byte order mark comes and goes with editors, and says nothing.
    text = content.decode("utf-8-sig")
    return text, hashlib.sha256(text.encode()).hexdigest()


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return getattr(error, "strerror", None) or str(error)[:300]


def _from_toml(path: Path, text: str, files: dict[str, str]) -> Read:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        _refuse(path, str(error))
    unknown = sorted(table.keys() - set(_Template.__struct_fields__))
    if unknown:
        _refuse(path, f'it has an unknown key "{unknown[0][:80]}"', unknown[0])
    try:
        read = msgspec.convert(table, _Template)
    except msgspec.ValidationError as error:
        _refuse(path, str(error))
    body = {name: getattr(read, name) for name in _OF_THE_BODY if getattr(read, name) is not None}
    changes: dict[str, Any] = {"template": read.user, "body": {**body, **read.body}}
    changes |= {name: getattr(read, name) for name in ("system", "model") if getattr(read, name)}
    if read.images:
        changes["images"] = (read.images,) if isinstance(read.images, str) else tuple(read.images)
    if read.overrides:
        changes["overrides"] = _flat(path, read.overrides)
    if read.answer is None:
        return Read(changes, files)
    answer = _answer(path.parent, read.answer)
    return Read({**changes, **answer.changes}, {**files, **answer.files})


def _answer(folder: Path, table: _AnswerTable) -> Read:
    more: dict[str, Any] = {"name": table.name, "native": table.native, "repair": table.repair}
    if isinstance(table.schema, str):
        return read_answer(folder / table.schema, **more)
    return Read({"answer": Answer(schema=table.schema, **more)})


def _flat(path: Path, table: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Return overrides by the dotted names of their fields: TOML makes tables of dots."""
    found: dict[str, str] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            found |= _flat(path, value, f"{before}{name}.")
        elif isinstance(value, str):
            found[before + name] = value
        else:
            _refuse(path, f"overrides.{before}{name} takes the name of a column")
    return found


def _refuse(path: Path, why: str, unknown: str = "") -> NoReturn:
    hint = did_you_mean(unknown, _Template.__struct_fields__) if unknown else ""
    raise TemplateError(
        f"{path} is not a template",
        code=NO_TEMPLATE,
        why=why,
        safe=_SAFE,
        next=hint.replace("the columns are", "its keys are") or "orchestrator help ORC2105",
    )
