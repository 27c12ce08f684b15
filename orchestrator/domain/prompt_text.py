"""A prompt's text: placeholders or Jinja syntax, and what they write for a value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import minijinja
import msgspec

from orchestrator.domain.errors import TemplateError
from orchestrator.domain.near_names import did_you_mean, listed
from orchestrator.domain.spec import JobSpec

RENDER = "ORC2102"
MAX_TEMPLATE_OPERATIONS = 1_000_000
"""Instructions one rendering of a template may take: an endless loop becomes an error."""

Text = Callable[[Mapping[str, Any]], str]
"""What makes a text of a record."""

_encode = msgspec.json.encode
_PARTS = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_JINJA = re.compile(r"(?<!\{)\{\{(\s*)([A-Za-z_]\w*)(\s*)\}\}(?!\})")
_NAME = re.compile(r"`(\w+)")


def as_text(value: object) -> str:
    """Return what a template shows for `value`: text as it is, nothing for None, else JSON.

    What JSON has only as text (dates, decimals, UUIDs of a typed source) loses its quotes. Raises
    TypeError for what JSON does not have.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    text = _encode(value)
    return msgspec.json.decode(text, type=str) if text.startswith(b'"') else text.decode()


def user_text(spec: JobSpec, columns: Sequence[str] | None) -> Text:
    """Return what writes the user's message. Raises TemplateError for what can't be compiled."""
    if spec.template is not None:
        return _Jinja("template", spec.template, columns).render
    if spec.prompt is not None:
        return _Placeholders("prompt", spec.prompt, columns).render
    raise TemplateError(
        "the job has neither prompt nor template",
        next='say what to ask, as in --prompt "Positive? One word: {text}"',
    )


def system_text(spec: JobSpec, columns: Sequence[str] | None) -> Text:
    """Return what writes the system text. Raises TemplateError as `user_text` does."""
    # The system text follows the syntax of the user's: a placeholder sent as it stands would cost
    # a whole job, a brace that has to be doubled costs one error message.
    if spec.template is not None:
        return _Jinja("system template", spec.system or "", columns).render
    return _Placeholders("system text", spec.system or "", columns).render


class _Placeholders:
    """Text with `{column}` placeholders; `{{` and `}}` stand for braces."""

    def __init__(self, what: str, text: str, columns: Sequence[str] | None) -> None:
        self._what = what
        self._columns = columns
        self._refuse_jinja(text)
        self._names: list[str] = []
        pattern: list[str] = []
        end = 0
        for part in _PARTS.finditer(text):
            pattern += [_percent(text[end : part.start()]), self._pattern_of(part)]
            end = part.end()
        self._pattern = "".join(pattern) + _percent(text[end:])
        self._constant = None if self._names else self._pattern % ()

    def render(self, data: Mapping[str, Any]) -> str:
        if self._constant is not None:
            return self._constant
        try:
            values = [data[name] for name in self._names]
            shown = [value if type(value) is str else as_text(value) for value in values]
        except KeyError as missing:
            raise TemplateError(
                f'the {self._what} needs the column "{missing.args[0]}", the record has none',
                code=RENDER,
            ) from None
        except (TypeError, ValueError) as error:
            raise TemplateError(f"a value can't be written as text: {error}", code=RENDER) from None
        return self._pattern % tuple(shown)

    def _pattern_of(self, part: re.Match[str]) -> str:
        match part[0]:
            case "{{" | "}}":
                return part[0][0]
            case "{" | "}":
                raise TemplateError(
                    f'the {self._what} has a single "{part[0]}" at character {part.start() + 1}',
                    next="write {{ and }} for braces that are meant as they stand",
                )
        name = part[1]
        if self._columns is not None and name not in self._columns:
            raise self._unknown(name, part.start() + 1)
        self._names.append(name)
        return "%s"

    def _unknown(self, name: str, at: int) -> TemplateError:
        columns = self._columns or ()
        plain = re.split(r"[!:.\[]", name, maxsplit=1)[0].strip()
        near = difflib.get_close_matches(plain, columns, n=1, cutoff=0.5)
        if near and near[0] == plain:
            hint = f"write {{{plain}}}: a placeholder is a column's plain name"
        elif near:
            hint = f"did you mean {{{near[0]}}}? the source has {listed(columns)}"
        else:
            hint = f"the source has {listed(columns)}; write {{{{ and }}}} for literal braces"
        return TemplateError(
            f'the {self._what} names the column "{name}" at character {at}, '
            "the source has none of that name",
            next=hint,
        )

    def _refuse_jinja(self, text: str) -> None:
        for found in _JINJA.finditer(text):
            before, name, after = found.groups()
            if before or after or name in (self._columns or ()):
                raise TemplateError(
                    f'the {self._what} has "{found[0]}" at character {found.start() + 1}, '
                    "which is Jinja syntax",
                    next=f"write {{{name}}}, or put the text into a file and use --template",
                )
        block = text.find("{%")
        if block >= 0:
            raise TemplateError(
                f'the {self._what} has "{{%" at character {block + 1}, which is Jinja syntax',
                next="put the text into a file and use --template",
            )


class _Jinja:
    """A template in Jinja syntax, strict about what is not there, with no way to the system."""

    def __init__(self, what: str, source: str, columns: Sequence[str] | None) -> None:
        self._what = what
        self._environment = minijinja.Environment(
            undefined_behavior="strict",
            fuel=MAX_TEMPLATE_OPERATIONS,
            auto_escape_callback=_never_escape,
            finalizer=as_text,
        )
        try:
            self._environment.add_template("template", source)
        except minijinja.TemplateError as error:
            raise TemplateError(
                f"the {what} does not compile: {error.detail or error.message}",
                where=f"template line {error.line}",
            ) from None
        # A column whose name is no word of Jinja's is written {{ record["review text"] }}.
        wanted = self._environment.undeclared_variables_in_template("template")
        self._whole = "record" in wanted and "record" not in (columns or ())

    def render(self, data: Mapping[str, Any]) -> str:
        try:
            # A copy of plain values only: a date or a list of Python's would bring its methods.
            plain = msgspec.to_builtins(data)
            if self._whole:
                plain.setdefault("record", msgspec.to_builtins(data))
            return self._environment.render_template("template", **plain)
        except minijinja.TemplateError as error:
            raise TemplateError(self._reason(error, data), code=RENDER) from None
        except (TypeError, ValueError, OverflowError) as error:
            raise TemplateError(f"the {self._what} fails: {error}", code=RENDER) from None

    def _reason(self, error: minijinja.TemplateError, data: Mapping[str, Any]) -> str:
        told = f"the {self._what} fails at its line {error.line}: {error.detail or error.message}"
        missing = _NAME.match(error.detail or "") if error.kind == "UndefinedError" else None
        if missing is None or missing[1] in data:
            return told
        return f"{told}; {did_you_mean(missing[1], data)}"


def _never_escape(_name: str) -> bool:
    return False


def _percent(literal: str) -> str:
    return literal.replace("%", "%%")
