"""The filter language, the same on the command line, in REST and on the pages.

    state:failed cause:overloaded key:page-88* attempts>2 since:2h tag:team=support "words"

A filter is a list of conditions that must all hold. `a,b` means a or b; a `-` in front means not;
`*` stands for anything. The registry turns conditions into SQL; nothing here knows a table.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from orchestrator.domain.errors import UsageError
from orchestrator.domain.units import parse_duration

Operator = Literal["=", "!=", "<", "<=", ">", ">="]

MAX_LENGTH = 2_000
MAX_CONDITIONS = 32


class Kind(enum.Enum):
    """What a field's value is."""

    WORD = "word"
    TEXT = "text"
    NUMBER = "number"
    MOMENT = "moment"
    TAG = "tag"


@dataclass(frozen=True, slots=True)
class Field:
    """A field that a filter may name. `choices` are the only words it takes; empty is any."""

    kind: Kind
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pattern:
    """Text to compare with; `*` stands for anything when `glob`."""

    text: str
    glob: bool

    def like(self) -> str:
        """Return the pattern for `LIKE … ESCAPE '!'`."""
        escaped = re.sub(r"[!%_]", r"!\g<0>", self.text)
        return escaped.replace("*", "%") if self.glob else escaped


@dataclass(frozen=True, slots=True)
class Matches:
    """The field equals one of the patterns (or, `negated`, none)."""

    field: str
    patterns: tuple[Pattern, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Compares:
    """The field stands in `operator` to `number`."""

    field: str
    operator: Operator
    number: int


@dataclass(frozen=True, slots=True)
class Since:
    """Happened at or after `moment` (UTC)."""

    moment: datetime


@dataclass(frozen=True, slots=True)
class Until:
    """Happened before `moment` (UTC)."""

    moment: datetime


@dataclass(frozen=True, slots=True)
class Tagged:
    """The job carries the metadata pair; any value when `value` is None."""

    name: str
    value: Pattern | None
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Says:
    """The provider's words contain `words`, whatever the case."""

    words: str
    negated: bool = False


Condition = Matches | Compares | Since | Until | Tagged | Says
Filter = tuple[Condition, ...]

_RECORD_STATES = (
    "open",
    "waiting",
    "in_flight",
    "reported",
    "succeeded",
    "failed",
    "expired",
    "cancelled",
)
_EVERYWHERE: Mapping[str, Field] = {
    "since": Field(Kind.MOMENT),
    "until": Field(Kind.MOMENT),
    "job": Field(Kind.TEXT),
    "provider": Field(Kind.TEXT),
    "model": Field(Kind.TEXT),
    "tag": Field(Kind.TAG),
}
JOB_FIELDS: Mapping[str, Field] = {
    **_EVERYWHERE,
    "state": Field(Kind.WORD),
    "records": Field(Kind.NUMBER),
    "failed": Field(Kind.NUMBER),
}
BATCH_FIELDS: Mapping[str, Field] = {
    **_EVERYWHERE,
    "state": Field(Kind.WORD),
    "batch": Field(Kind.TEXT),
    "requests": Field(Kind.NUMBER),
}
RECORD_FIELDS: Mapping[str, Field] = {
    **_EVERYWHERE,
    "state": Field(Kind.WORD, _RECORD_STATES),
    "cause": Field(Kind.WORD),
    "key": Field(Kind.TEXT),
    "batch": Field(Kind.TEXT),
    "attempts": Field(Kind.NUMBER),
    "tokens_in": Field(Kind.NUMBER),
    "tokens_out": Field(Kind.NUMBER),
}
EVENT_FIELDS: Mapping[str, Field] = {
    **_EVERYWHERE,
    "event": Field(Kind.WORD),
    "batch": Field(Kind.TEXT),
    "worker": Field(Kind.TEXT),
}

_TERM = re.compile(
    r"""(?P<not>-)?
        (?: (?P<field>[A-Za-z_]+) (?P<operator>:|!=|<=|>=|=|<|>) )?
        (?P<value> (?: "(?:[^"\\]|\\.)*" | [^\s"] )* )""",
    re.VERBOSE,
)
_PIECE = re.compile(r'"((?:[^"\\]|\\.)*)"|([^",]+)|(,)')


@dataclass(frozen=True, slots=True)
class _Term:
    """One term as written. `position` counts characters from 1."""

    text: str
    position: int
    negated: bool
    field: str
    operator: str
    value: str


def parse_filter(text: str, fields: Mapping[str, Field], *, now: datetime) -> Filter:
    """Read `text` into conditions over `fields`; an empty text is no condition.

    `now` anchors `since:2h`; a date without a zone is meant in the zone of
    `now`. Bounded to 2,000 characters and 32 conditions. Raises UsageError (ORC1002) that names
    the term and its position.
    """
    if len(text) > MAX_LENGTH:
        raise _bad(f"the filter is {len(text):,} characters long; at most {MAX_LENGTH:,} are read")
    terms = _split(text)
    if len(terms) > MAX_CONDITIONS:
        raise _bad(f"the filter has {len(terms)} conditions; at most {MAX_CONDITIONS} are read")
    return tuple(_condition(term, fields, now) for term in terms)


def _split(text: str) -> list[_Term]:
    terms: list[_Term] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _TERM.match(text, at)
        if match is None or match.end() == at or _stops_at_a_quote(text, match.end()):
            raise _bad('a quotation mark is not closed; end the words with "', text, at)
        terms.append(
            _Term(
                text=match.group(0),
                position=at + 1,
                negated=bool(match["not"]),
                field=(match["field"] or "").lower(),
                operator=match["operator"] or "",
                value=match["value"],
            )
        )
        at = match.end()
    return terms


def _stops_at_a_quote(text: str, at: int) -> bool:
    return at < len(text) and text[at] == '"'


def _condition(term: _Term, fields: Mapping[str, Field], now: datetime) -> Condition:
    if not term.field:
        return _words(term)
    field = fields.get(term.field)
    if field is None:
        raise _unknown_field(term, fields)
    if not term.value:
        raise _bad_term(term, f"{term.field} has no value")
    match field.kind:
        case Kind.NUMBER:
            return _number(term)
        case Kind.MOMENT:
            return _moment(term, now)
        case Kind.TAG:
            return _tag(term)
        case Kind.WORD | Kind.TEXT:
            return _match(term, field)


def _words(term: _Term) -> Says:
    words = " ".join(pattern.text for pattern in _patterns(term.value))
    if not words:
        raise _bad_term(term, "there are no words to look for")
    return Says(words, term.negated)


def _match(term: _Term, field: Field) -> Matches:
    if term.operator not in {":", "=", "!="}:
        raise _bad_term(term, f'{term.field} takes ":", not "{term.operator}"')
    patterns = _patterns(term.value)
    if not patterns:
        raise _bad_term(term, f"{term.field} has no value")
    if field.choices:
        patterns = tuple(_choice(term, pattern, field.choices) for pattern in patterns)
    return Matches(term.field, patterns, term.negated != (term.operator == "!="))


def _choice(term: _Term, pattern: Pattern, choices: tuple[str, ...]) -> Pattern:
    word = pattern.text.lower().replace("-", "_").replace(" ", "_")
    if pattern.glob or word in choices:
        return Pattern(word, pattern.glob)
    near = difflib.get_close_matches(word, choices, n=1)
    hint = f'did you mean "{near[0]}"?' if near else "it is one of " + ", ".join(choices)
    raise _bad_term(term, f'{term.field} is never "{pattern.text}"; {hint}')


def _number(term: _Term) -> Compares:
    digits = term.value.replace(",", "").replace("_", "")
    if not digits.isdecimal() or not digits.isascii() or len(digits) > 18:
        raise _bad_term(term, f'{term.field} is compared with a whole number, not "{term.value}"')
    operator: Operator
    match term.operator:
        case "<" | "<=" | ">" | ">=" | "!=" as other:
            operator = other
        case _:
            operator = "="
    if term.negated:
        operator = _OPPOSITE[operator]
    return Compares(term.field, operator, int(digits))


_OPPOSITE: Mapping[Operator, Operator] = {
    "=": "!=",
    "!=": "=",
    "<": ">=",
    "<=": ">",
    ">": "<=",
    ">=": "<",
}


def _moment(term: _Term, now: datetime) -> Since | Until:
    if term.operator not in {":", "="}:
        raise _bad_term(term, f'{term.field} takes ":", not "{term.operator}"')
    text = term.value.strip('"')
    try:
        moment = (now - parse_duration(text)).astimezone(UTC)
    except ValueError:
        moment = _date(term, text, now)
    if (term.field == "since") != term.negated:
        return Since(moment)
    return Until(moment)


def _date(term: _Term, text: str, now: datetime) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _bad_term(
            term, f'{term.field} takes a duration (2h, 3d) or a date (2026-11-23), not "{text}"'
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)).astimezone(UTC)


def _tag(term: _Term) -> Tagged:
    name, equals, value = term.value.partition("=")
    if not name:
        raise _bad_term(term, "tag is written tag:name or tag:name=value")
    if not equals:
        return Tagged(name, None, term.negated)
    patterns = _patterns(value)
    if len(patterns) != 1:
        raise _bad_term(term, f"tag {name} is compared with one value")
    return Tagged(name, patterns[0], term.negated)


def _patterns(value: str) -> tuple[Pattern, ...]:
    """Split `a,"b c",d*` at its commas; a `*` inside quotation marks is only a star."""
    found: list[Pattern] = []
    text, glob, started = "", False, False
    for quoted, bare, comma in _PIECE.findall(value):
        if comma:
            if started:
                found.append(Pattern(text, glob))
            text, glob, started = "", False, False
            continue
        text += bare or re.sub(r"\\(.)", r"\1", quoted)
        glob = glob or "*" in bare
        started = True
    if started and text:
        found.append(Pattern(text, glob))
    return tuple(found)


def _unknown_field(term: _Term, fields: Mapping[str, Field]) -> UsageError:
    near = difflib.get_close_matches(term.field, fields, n=1)
    hint = f'did you mean "{near[0]}"?' if near else "it knows " + ", ".join(sorted(fields))
    return _bad_term(term, f'the filter has no field "{term.field}"; {hint}')


def _bad_term(term: _Term, reason: str) -> UsageError:
    return _bad(reason, term.text, term.position - 1)


def _bad(reason: str, text: str = "", at: int | None = None) -> UsageError:
    where = f"character {at + 1}: {text[:60]}" if at is not None else ""
    return UsageError(reason, code="ORC1002", where=where, next="orchestrator help filters")
