r"""From a record to the body of a request, and from stored bodies to lines of a batch file.

Bodies are compact JSON in ASCII: every other character is written as `\uXXXX`, since some servers
split lines at U+2028 or U+0085. Escaping costs nothing where there is nothing to escape: on 1 KB
of text `msgspec.json.encode` takes 0.5 us where `json.dumps` takes 5.5 us; on 2.3 KB of Chinese
the standard library's own C escaper takes 4.1 us, and no other way that was measured is faster.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring_ascii
from typing import Any

import minijinja
import msgspec

from orchestrator.domain import cost
from orchestrator.domain.errors import TemplateError
from orchestrator.domain.intake import Record
from orchestrator.domain.spec import JobSpec

RENDER = "ORC2102"
MAX_TEMPLATE_OPERATIONS = 1_000_000
"""Instructions one rendering of a template may take: an endless loop becomes an error."""

_encode = msgspec.json.encode
_PARTS = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_JINJA = re.compile(r"(?<!\{)\{\{(\s*)([A-Za-z_]\w*)(\s*)\}\}(?!\})")


class Rendered(msgspec.Struct, frozen=True, gc=False):
    """The body of one request.

    `quarter_tokens` estimates its prompt in quarters of a token; `max_out` is the most tokens the
    answer may have, None where the body sets no bound.
    """

    body: bytes
    model: str
    quarter_tokens: int
    max_out: int | None


def text_json(text: str) -> bytes:
    """Return `text` as a JSON string in ASCII. Half a surrogate pair is written as it stands."""
    if text.isascii():
        return _encode(text)
    return encode_basestring_ascii(text).encode("ascii")


def ascii_json(raw: bytes) -> bytes:
    """Return the JSON text `raw` in ASCII; numbers, order of keys, spaces stay as they are.

    `raw` is valid JSON in UTF-8 without control characters (compact, or spaced with blanks only).
    """
    if raw.isascii():
        return raw
    # The C escaper takes the whole text for one string. Outside ASCII it does what is wanted; the
    # quotes and backslashes it doubled are taken back, in this order: after the first step each
    # backslash of the text stands as a pair, and a single one can only be followed by u.
    escaped = encode_basestring_ascii(raw.decode())[1:-1]
    return escaped.replace('\\"', '"').replace("\\\\", "\\").encode("ascii")


def compact_json(raw: bytes) -> bytes:
    """Return the JSON text `raw` without blanks and in ASCII; all else stays as it is."""
    return ascii_json(msgspec.json.format(raw, indent=-1))


def batch_line(custom_id: str, endpoint: str, body: bytes) -> bytes:
    """Return one line of a batch input file, line break included. The same input, the same bytes.

    `body` is JSON text in ASCII, as stored with the request.
    """
    return b'{"custom_id":%b,"method":"POST","url":%b,"body":%b}\n' % (
        text_json(custom_id),
        text_json(endpoint),
        body,
    )


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


class Renderer:
    """What `spec` makes of records that have `columns`.

    Raises TemplateError if prompt, system text or template can't be compiled, or names a column
    that is not there. Without `columns` a missing column shows only with the record that lacks it.
    """

    def __init__(self, spec: JobSpec, columns: Sequence[str] | None = None) -> None:
        self.render: Callable[[Record], Rendered]
        """Render one record. Raises TemplateError naming what it lacks."""
        self.render = _ready_line if spec.lines else _Chat(spec, columns).render


class _Chat:
    """Bodies with `messages`. All that no record changes is encoded once."""

    def __init__(self, spec: JobSpec, columns: Sequence[str] | None) -> None:
        self._model = spec.model or ""
        self._max_out = cost.output_bound(spec.body)
        self._user = _text("prompt", spec.prompt, spec.template, columns)
        start = b'{"model":%b,"messages":[' % text_json(self._model)
        self._system: Callable[[Mapping[str, Any]], str] | None = None
        self._quarters = cost.QUARTERS_PER_MESSAGE
        if spec.system is not None:
            self._quarters *= 2
            self._system = _system_text(spec, columns)
            start += b'{"role":"system","content":'
        self._start = start
        self._middle = b"}," if spec.system is not None else b""
        self._middle += b'{"role":"user","content":'
        extras = ascii_json(_encode(spec.body))[1:]
        self._end = b"}]" + (b"," + extras if spec.body else b"}")

    def render(self, record: Record) -> Rendered:
        data = record.data
        user = self._user(data)
        system = self._system(data) if self._system is not None else None
        quarters = self._quarters
        quarters += len(user) if user.isascii() else cost.quarter_tokens(user)
        if system is None:
            body = b"%b%b%b%b" % (self._start, self._middle, text_json(user), self._end)
        else:
            quarters += cost.quarter_tokens(system)
            parts = (self._start, text_json(system), self._middle, text_json(user), self._end)
            body = b"".join(parts)
        return Rendered(body, self._model, quarters, self._max_out)


class _Line(msgspec.Struct):
    body: msgspec.Raw = msgspec.Raw(b"null")


def _ready_line(record: Record) -> Rendered:
    """Take the body out of a ready batch line, with its own order of keys and its own numbers."""
    body = record.data.get("body")
    if not isinstance(body, dict):
        raise TemplateError("the line has no body object", code=RENDER)
    raw = msgspec.json.decode(record.raw, type=_Line).body if record.raw else _encode(body)
    model = body.get("model")
    return Rendered(
        compact_json(bytes(raw)),
        model if isinstance(model, str) else "",
        cost.message_quarters(body.get("messages")),
        cost.output_bound(body),
    )


def _system_text(
    spec: JobSpec, columns: Sequence[str] | None
) -> Callable[[Mapping[str, Any]], str]:
    # The system text follows the syntax of the user's: a placeholder sent as it stands would cost
    # a whole job, a brace that has to be doubled costs one error message.
    if spec.template is not None:
        return _text("system template", None, spec.system, columns)
    return _text("system text", spec.system, None, columns)


def _text(
    what: str, prompt: str | None, template: str | None, columns: Sequence[str] | None
) -> Callable[[Mapping[str, Any]], str]:
    if template is not None:
        return _Jinja(what.replace("prompt", "template"), template).render
    if prompt is not None:
        return _Placeholders(what, prompt, columns).render
    raise TemplateError(
        "the job has neither prompt nor template",
        next='say what to ask, as in --prompt "Positive? One word: {text}"',
    )


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
            hint = f"did you mean {{{near[0]}}}? the source has {_listed(columns)}"
        else:
            hint = f"the source has {_listed(columns)}; write {{{{ and }}}} for literal braces"
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

    def __init__(self, what: str, source: str) -> None:
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

    def render(self, data: Mapping[str, Any]) -> str:
        try:
            return self._environment.render_template("template", **data)
        except minijinja.TemplateError as error:
            reason = error.detail or error.message
            raise TemplateError(
                f"the {self._what} fails at its line {error.line}: {reason}", code=RENDER
            ) from None
        except (TypeError, ValueError, OverflowError) as error:
            raise TemplateError(f"the {self._what} fails: {error}", code=RENDER) from None


def _never_escape(_name: str) -> bool:
    return False


def _percent(literal: str) -> str:
    return literal.replace("%", "%%")


def _listed(columns: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(columns[:most])
    return f"{shown} and {len(columns) - most:,} more" if len(columns) > most else shown
