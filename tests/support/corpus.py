"""The corpus: labelled fixtures of odd answers as TOML, read into bytes and verdicts."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "corpus"
GROUPS = ("calls", "lines", "files", "validation")

BODY = (
    '{"id":"c1","object":"chat.completion","created":1756700000,"model":"kimi-k2.6",'
    '"choices":[{"index":0,"message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":11,"completion_tokens":5,"total_tokens":16,"cached_tokens":3}}'
)
OTHER_BODY = BODY.replace('"yes"', '"another"')


@dataclass(frozen=True)
class Fixture:
    """One labelled oddity: `raw` is the table as written, with its expected verdict."""

    group: str
    name: str
    raw: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.raw[key]

    def get(self, key: str, default: Any = None) -> Any:
        return self.raw.get(key, default)

    def __str__(self) -> str:
        return f"{self.group}: {self.name}"


@cache
def fixtures(group: str) -> Sequence[Fixture]:
    """Return the fixtures of a group, in the order they are written."""
    with (FOLDER / f"{group}.toml").open("rb") as file:
        tables = tomllib.load(file)["fixture"]
    return [Fixture(group, table["name"], table) for table in tables]


def everything() -> Iterator[Fixture]:
    """Yield every fixture of the corpus."""
    for group in GROUPS:
        yield from fixtures(group)


def told(text: str) -> bytes:
    """Return the bytes of a text; a lone surrogate in a fixture would be a mistake of its own."""
    return text.encode()


def joined(parts: str | Sequence[Any]) -> bytes:
    """Return the bytes that a text, or a list of texts and builders, stands for."""
    if isinstance(parts, str):
        return told(parts)
    return b"".join(_part(part) for part in parts)


def _part(part: str | Mapping[str, Any]) -> bytes:
    if isinstance(part, str):
        return told(part)
    if "hex" in part:
        return bytes.fromhex(part["hex"])
    return told(part["repeat"]) * part["times"]


def success(custom_id: str, body: str = BODY) -> str:
    """Return an ordinary success line."""
    response = f'{{"status_code":200,"request_id":"","body":{body}}}'
    return f'{{"id":"{custom_id}","custom_id":"{custom_id}","response":{response},"error":null}}'


def failure(custom_id: str, status: int, kind: str) -> str:
    """Return an ordinary line of a failed request."""
    body = f'{{"error":{{"message":"no","type":"{kind}"}}}}'
    response = f'{{"status_code":{status},"request_id":"","body":{body}}}'
    return f'{{"id":"{custom_id}","custom_id":"{custom_id}","response":{response},"error":null}}'


def line_of(fixture: Fixture, custom_id: str) -> bytes:
    """Return the line of a fixture of the group `lines`, addressed to `custom_id`."""
    if "line" in fixture.raw:
        raw = told(fixture["line"])
    elif "parts" in fixture.raw:
        raw = joined(fixture["parts"])
    else:
        raw = told(_envelope(fixture))
    # The ordinary line first: it holds the other two.
    raw = raw.replace(b"<OK>", success("<ID>").encode())
    return raw.replace(b"<BODY>", BODY.encode()).replace(b"<ID>", custom_id.encode())


def _envelope(fixture: Fixture) -> str:
    response = fixture.get("response")
    if response is None and "error" in fixture.raw:
        response = "null"
    if response is None:
        status, body = fixture.get("status", "200"), fixture.get("body", "<BODY>")
        response = f'{{"status_code":{status},"request_id":"","body":{body}}}'
    custom_id, error = fixture.get("id", '"<ID>"'), fixture.get("error", "null")
    return f'{{"id":"x","custom_id":{custom_id},"response":{response},"error":{error}}}'
