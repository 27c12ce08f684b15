"""Whole files of the corpus: short forms of lines, written out for the members of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from support.corpus import BODY, OTHER_BODY, Fixture, failure, joined, success


def said(body: str, custom_id: str) -> str:
    """Return a body whose text names the request that it answers."""
    return body.replace('"content":"', f'"content":"of {custom_id}: ')


def line(spec: str, members: Sequence[str]) -> str:
    """Return the line that a short form stands for."""
    for index, member in enumerate(members):
        spec = spec.replace(f"@{index}", member)
    word, _, custom_id = spec.partition(" ")
    match word:
        case "ok":
            return success(custom_id, said(BODY, custom_id))
        case "also":
            return success(custom_id, said(OTHER_BODY, custom_id))
        case "no":
            return failure(custom_id, 400, "invalid_request_error")
        case "busy":
            return failure(custom_id, 429, "rate_limit_reached_error")
        case "gone":
            return (
                f'{{"custom_id":"{custom_id}","response":null,"error":{{"code":"batch_expired"}}}}'
            )
    return spec.replace("<BODY>", BODY)


def content(spec: Any, members: Sequence[str]) -> bytes | int:
    """Return the bytes of a file, or the status of an answer without one."""
    if isinstance(spec, str):
        return line(spec, members).encode() if "@" in spec else spec.encode()
    if isinstance(spec, list):
        spec = {"lines": spec}
    if "http" in spec:
        return int(spec["http"])
    if "parts" in spec:
        return b"".join(part_of(part, members) for part in spec["parts"])
    eol = spec.get("eol", "\n")
    text = eol.join(line(each, members) for each in spec["lines"]) + spec.get("end", eol)
    return (b"\xef\xbb\xbf" if spec.get("bom") else b"") + text.encode()


def part_of(part: Any, members: Sequence[str]) -> bytes:
    if isinstance(part, Mapping) and "line" in part:
        return f"{line(part['line'], members)}\n".encode()
    if isinstance(part, str):
        return line(part, members).encode()
    return joined([part])


def versions(fixture: Fixture, kind: str, members: Sequence[str]) -> list[bytes | int] | None:
    if f"{kind}s" in fixture.raw:
        return [content(spec, members) for spec in fixture[f"{kind}s"]]
    return [content(fixture[kind], members)] if kind in fixture.raw else None
