"""Fields of a request that its record sets: another model, another bound."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from orchestrator.domain.errors import TemplateError
from orchestrator.domain.intake import Record
from orchestrator.domain.near_names import did_you_mean
from orchestrator.domain.profile import Profile
from orchestrator.domain.rules import FORBIDDEN, MODEL, forbidden, model_reason
from orchestrator.domain.spec import JobSpec

OVERRIDE = "ORC2112"
_SET_BY_THE_JOB = ("messages",)


class Overrides:
    """What the records of a job change in its body. Raises TemplateError (ORC2112) at once.

    A field is a path in the body, `thinking.type`; `model` is the request's model.
    """

    def __init__(
        self, spec: JobSpec, columns: Sequence[str] | None, profile: Profile | None
    ) -> None:
        self._model = spec.model or ""
        self._body = spec.body
        self._profile = profile
        self._fields = [
            (tuple(field.split(".")), column) for field, column in spec.overrides.items()
        ]
        for path, column in self._fields:
            _refuse(path, column, columns)

    def of(self, record: Record) -> tuple[str, dict[str, Any]]:
        """Return the model and the further fields of a record's body.

        A column that is null or not there changes nothing. Raises TemplateError for a model that
        can't be used, and for a field that this model refuses.
        """
        model, body = self._model, dict(self._body)
        for path, column in self._fields:
            value = _value(record, column)
            if value is None:
                continue
            if path != ("model",):
                _set(body, path, value)
            elif isinstance(value, str):
                model = value
            else:
                raise _bad(column, "is no name of a model")
        self._check(model, body)
        return model, body

    def _check(self, model: str, body: dict[str, Any]) -> None:
        if not model:
            raise TemplateError("the record names no model, and the job has none", code=MODEL)
        if self._profile is None or model == self._model:
            return
        if reason := model_reason(model, self._profile):
            raise TemplateError(reason, code=MODEL)
        for name in forbidden(body, model, self._profile):
            reason = f'body.{name} is not allowed with model "{model[:80]}"'
            raise TemplateError(reason, code=FORBIDDEN)


def _refuse(path: tuple[str, ...], column: str, columns: Sequence[str] | None) -> None:
    field = ".".join(path)
    if not all(path) or path[0] in _SET_BY_THE_JOB or (path[0] == "model" and len(path) > 1):
        raise TemplateError(
            f"the field {field[:80]} can't be taken from a column",
            code=OVERRIDE,
            next="--override body.max_tokens=COLUMN, or --override model=COLUMN",
        )
    if columns is not None and column not in columns:
        raise TemplateError(
            f'the source has no column "{column[:80]}" to take {field[:80]} from',
            code=OVERRIDE,
            next=did_you_mean(column, columns),
        )


def _value(record: Record, column: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return what a column holds; text that is no JSON source's is JSON where it looks so."""
    value = record.data.get(column)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if not isinstance(value, str):
        return msgspec.to_builtins(value)
    if record.raw:
        return value
    try:
        return msgspec.json.decode(value) if value else None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return value


def _set(body: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    """Set a field of `body`; what lies between is copied, since other records share it."""
    *between, last = path
    for name in between:
        below = body.get(name, {})
        if not isinstance(below, dict):
            raise _bad(".".join(path), f"lies below body.{name}, which is a value")
        body[name] = body = dict(below)
    body[last] = value


def _bad(what: str, why: str) -> TemplateError:
    return TemplateError(f'"{what[:80]}" {why}', code=OVERRIDE)
