"""Mutants: fixtures of the corpus, damaged at random, each replayed by its kind and number."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from support.corpus import fixtures, joined, line_of
from support.corpus_files import versions

MEMBERS = ("r-1", "r-2", "r-3", "r-4")
LONGEST = 20_000
"""Bytes of a fixture that is mutated often; longer ones come once in a while."""

SNIPPETS: Sequence[bytes] = (
    b"\0", b"\n", b"\r", b"\r\n", b"\t", b" ", b'"', b"\\", b",", b":", b"{", b"}", b"[", b"]",
    b"null", b"true", b"NaN", b"-Infinity", b"1e400", b"-0", b"18446744073709551616",
    b"9" * 400, b"0.1", b'""', b"{}", b"[]", b"\\ud83d", b"\\u0000", b"\\ud83d\\ude00",
    b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xff", b"\xc3", b"\xf0\x9f\x98\x80", b"<html>",
    b'"custom_id":"r-2",', b'"custom_id":null,', b'"error":{"code":"x"},', b'"status_code":"500",',
    b"[" * 300, b'{"a":' * 300, b"sk-abcdefgh12345678",
)  # fmt: skip
VALUES: Sequence[Any] = (
    None, True, False, 0, -1, 7, 2**31, 2**63, 2**64, 10**400, 0.5, -1e300, float("nan"),
    float("inf"), "", " ", "x", "r-2", "200", "1e400", "\0", "\ud800", "\u2028", "y" * 5000,
    [], {}, [None], {"error": None}, {"message": "m"}, "2025-09-01T04:13:20Z",
)  # fmt: skip
_TOKEN = re.compile(rb'-?\d+(?:\.\d+)?|true|false|null|"[^"\\]{0,40}"')


class Answered(NamedTuple):
    """A mutant answer of a call."""

    status: int
    headers: dict[str, str]
    body: bytes


class Files(NamedTuple):
    """A mutant pair of result files; None is no such file."""

    output: bytes | None
    error: bytes | None


def dice(kind: str, number: int) -> random.Random:
    """Return the dice of one mutant: the same for ever."""
    return random.Random(f"{kind} {number}")


def mutant_line(number: int) -> bytes:
    """Return a damaged line, addressed to r-1 unless the damage says otherwise."""
    rng = dice("line", number)
    raw = rng.choice(_pool(rng, _lines))
    if rng.random() < 0.5:
        # Damage that leaves JSON behind goes deeper than what no parser takes.
        return _swap_value(rng, raw, ())
    return mutated(rng, raw, _lines()[0])


def mutant_answer(number: int) -> Answered:
    """Return a damaged answer of a call."""
    rng = dice("answer", number)
    status, headers, body = rng.choice(_answers())
    if rng.random() < 0.3:
        status = rng.choice((200, 201, 204, 302, 400, 401, 403, 404, 408, 409, 413, 429, 500, 504))
    if "retry-after" in headers and rng.random() < 0.5:
        told = mutated(rng, headers["retry-after"].encode(), (b"1",))
        headers = {**headers, "retry-after": told.decode("latin-1")}
    return Answered(status, headers, mutated(rng, body, tuple(a.body for a in _answers())))


def mutant_files(number: int, members: Sequence[str] = MEMBERS) -> Files:
    """Return a damaged output and error file of a batch with these members."""
    rng = dice("files", number)
    output, error = rng.choice(_files())
    pieces = [piece for pair in _files() for piece in pair if piece]
    damaged = [
        None if file is None else mutated(rng, file, pieces, keep=rng.random() < 0.3)
        for file in (output, error)
    ]
    named = [_renamed(file, members) for file in damaged]
    return Files(named[0], named[1])


def mutant_validation(number: int) -> bytes:
    """Return a damaged error file of a failed validation."""
    rng = dice("validation", number)
    return mutated(rng, rng.choice(_validations()), _validations())


def mutated(
    rng: random.Random, raw: bytes, others: Sequence[bytes], *, keep: bool = False
) -> bytes:
    """Damage `raw` one to four times; `keep` leaves it whole."""
    for _ in range(0 if keep else rng.choice((1, 1, 2, 4))):
        raw = rng.choice(_MUTATIONS)(rng, raw, others)
    return raw


Mutation = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


def _span(rng: random.Random, raw: bytes) -> tuple[int, int]:
    start = rng.randrange(len(raw) + 1)
    return start, min(len(raw), start + rng.choice((1, 2, 8, 40, 400)))


def _flip(rng: random.Random, raw: bytes, _others: Sequence[bytes]) -> bytes:
    if not raw:
        return raw
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ (1 << rng.randrange(8))]) + raw[at + 1 :]


def _cut(rng: random.Random, raw: bytes, _others: Sequence[bytes]) -> bytes:
    start, end = _span(rng, raw)
    return raw[:start] + raw[end:]


def _end(rng: random.Random, raw: bytes, _others: Sequence[bytes]) -> bytes:
    return raw[: rng.randrange(len(raw) + 1)]


def _double(rng: random.Random, raw: bytes, _others: Sequence[bytes]) -> bytes:
    start, end = _span(rng, raw)
    return raw[:end] + raw[start:end] + raw[end:]


def _insert(rng: random.Random, raw: bytes, _others: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + rng.choice(SNIPPETS) + raw[at:]


def _splice(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    return raw[: rng.randrange(len(raw) + 1)] + other[rng.randrange(len(other) + 1) :]


def _swap_token(rng: random.Random, raw: bytes, _others: Sequence[bytes]) -> bytes:
    found = list(_TOKEN.finditer(raw[:LONGEST]))
    if not found:
        return raw
    token = rng.choice(found)
    return raw[: token.start()] + rng.choice(SNIPPETS) + raw[token.end() :]


def _swap_value(rng: random.Random, raw: bytes, _others: Sequence[bytes]) -> bytes:
    """Put another value, or an odd member, somewhere into one line of JSON."""
    lines = raw.split(b"\n")
    at = rng.randrange(len(lines))
    try:
        value = json.loads(lines[at][:LONGEST])
    except (ValueError, RecursionError):
        return raw
    spots = list(_spots(value))
    if not spots:
        return raw
    holder, key = rng.choice(spots)
    match rng.randrange(3):
        case 0:
            holder[key] = rng.choice(VALUES)
        case 1:
            del holder[key]
        case _:
            holder[key] = rng.choice(([holder[key]], {"data": holder[key]}, str(holder[key])))
    lines[at] = json.dumps(value, ensure_ascii=rng.random() < 0.9).encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


def _spots(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    todo = [value]
    while todo:
        holder = todo.pop()
        if not isinstance(holder, dict | list):
            continue
        keys = holder.keys() if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            found.append((holder, key))
            todo.append(holder[key])
    return found


def _shuffle(rng: random.Random, raw: bytes, _others: Sequence[bytes]) -> bytes:
    lines = raw.split(b"\n")
    if rng.random() < 0.5:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    rng.shuffle(lines)
    return b"\n".join(lines)


_MUTATIONS: Sequence[Mutation] = (
    _flip, _cut, _end, _double, _insert, _insert, _splice, _swap_token, _swap_value, _swap_value,
    _shuffle,
)  # fmt: skip


def _pool(rng: random.Random, pools: Callable[[], tuple[Sequence[bytes], Sequence[bytes]]]) -> Any:
    short, long = pools()
    return long if long and rng.random() < 0.002 else short


@cache
def _lines() -> tuple[Sequence[bytes], Sequence[bytes]]:
    lines = [line_of(fixture, MEMBERS[0]) for fixture in fixtures("lines")]
    return [raw for raw in lines if len(raw) <= LONGEST], [
        raw for raw in lines if len(raw) > LONGEST
    ]


@cache
def _answers() -> Sequence[Answered]:
    made = (
        Answered(
            fixture.get("status", 200),
            fixture.get("headers", {}),
            joined(fixture.get("parts", fixture.get("body", ""))),
        )
        for fixture in fixtures("calls")
        if "content-encoding" not in fixture.get("headers", {})
    )
    return [answer for answer in made if len(answer.body) <= LONGEST]


@cache
def _files() -> Sequence[tuple[bytes | None, bytes | None]]:
    pairs = []
    for fixture in fixtures("files"):
        contents = [versions(fixture, kind, MEMBERS) or [None] for kind in ("output", "error")]
        pair = [next((c for c in each if not isinstance(c, int)), None) for each in contents]
        if any(pair) and all(len(raw or b"") <= LONGEST for raw in pair):
            pairs.append((pair[0], pair[1]))
    return pairs


@cache
def _validations() -> Sequence[bytes]:
    made = [versions(fixture, "error", MEMBERS) or [b""] for fixture in fixtures("validation")]
    return [raw for each in made for raw in each if isinstance(raw, bytes) and len(raw) < LONGEST]


def _renamed(file: bytes | None, members: Sequence[str]) -> bytes | None:
    if file is None or tuple(members) == MEMBERS:
        return file
    for old, new in zip(MEMBERS, members, strict=True):
        file = file.replace(old.encode(), new.encode())
    return file
