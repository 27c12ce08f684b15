"""From what is written to what is meant: one reader a kind of setting.

Readers raise ValueError with the reason. A value that may be a secret is never quoted in one.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestrator.domain.canary import read_condition
from orchestrator.domain.money import Money
from orchestrator.domain.pricing import read_price
from orchestrator.domain.profile import Price
from orchestrator.domain.spec import SinkSpec
from orchestrator.domain.units import parse_duration, parse_money, parse_size
from orchestrator.settings.keys import Key, Kind
from orchestrator.settings.references import PLACES, SecretReference, SecretSource
from orchestrator.settings.schema import Size
from orchestrator.settings.sinks import read_sinks

_PASSWORD_IN_URL = re.compile(r"://[^/@?]*:[^/@]+@|[?&](?:password|sslpassword)=", re.IGNORECASE)
_WINDOW = re.compile(r"[1-9]\d{0,3}(?:m|h|d)")


class UnfitValue(ValueError):
    """What is written is not what the setting takes."""


class LiteralSecret(UnfitValue):
    """A secret stands in the file itself."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands. `variable` is set when it is the text of an environment variable.

    Relative paths are meant from `base`; `home` stands for `~`.
    """

    base: Path
    home: Path
    variable: str = ""
    text: bool = False


def read_value(key: Key, raw: object, place: Place) -> object:
    """Return the typed value of `key`. Raises ValueError, LiteralSecret."""
    if place.text and isinstance(raw, str):
        raw = _from_text(key.kind, raw, place)
    return _READERS[key.kind](key, raw, place)


def _from_text(kind: Kind, text: str, place: Place) -> object:
    """Turn the text of a variable or flag into what TOML would have given."""
    if kind in ("bool", "age"):
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(
            text.lower(), text
        )
    if kind == "count":
        return int(text) if text.isascii() and text.isdecimal() else text
    if kind in ("secret", "url") and not text.lstrip().startswith("{"):
        # A key in a variable is where keys may be: keep the name of the variable, not the key.
        hidden = kind == "secret" or _PASSWORD_IN_URL.search(text)
        return {"env": place.variable} if hidden and place.variable else text
    if kind in ("secret", "url", "any"):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return text


def _text(_key: Key, raw: object, _place: Place) -> object:
    if not isinstance(raw, str):
        raise UnfitValue(f"it takes text, not {_called(raw)}")
    return raw


def _bool(_key: Key, raw: object, _place: Place) -> object:
    if not isinstance(raw, bool):
        raise UnfitValue(f"it takes true or false, not {_called(raw)}")
    return raw


def _count(_key: Key, raw: object, _place: Place) -> object:
    if not isinstance(raw, int) or isinstance(raw, bool) or raw < 1:
        raise UnfitValue(f"it takes a whole number from 1, not {_called(raw)}")
    return raw


def _columns(_key: Key, raw: object, _place: Place) -> object:
    names = [raw] if isinstance(raw, str) else raw
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise UnfitValue(f"it takes the name of a column or a list of them, not {_called(raw)}")
    return tuple(names)


def _choice(key: Key, raw: object, _place: Place) -> object:
    if raw in key.choices:
        return raw
    near = difflib.get_close_matches(str(raw), key.choices, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    raise UnfitValue(f"it takes {' or '.join(key.choices)}, not {_called(raw)}{hint}")


def _duration(_key: Key, raw: object, _place: Place) -> object:
    if not isinstance(raw, str):
        raise UnfitValue(f'it takes a duration with its unit like "90s", not {_called(raw)}')
    span = parse_duration(raw)
    if span < timedelta(0):
        raise UnfitValue("it takes a duration from 0s")
    return span


def _age(_key: Key, raw: object, _place: Place) -> object:
    if isinstance(raw, bool):
        return raw
    if not isinstance(raw, str):
        raise UnfitValue(f'it takes true, false or a duration like "7d", not {_called(raw)}')
    age = parse_duration(raw)
    if age <= timedelta(0):
        raise UnfitValue("it takes a duration above 0s; false is never")
    return age


def _size(_key: Key, raw: object, _place: Place) -> object:
    if not isinstance(raw, str):
        raise UnfitValue(f'it takes a size with its unit like "64MB", not {_called(raw)}')
    return Size(parse_size(raw))


def _money(_key: Key, raw: object, _place: Place) -> Money:
    if not isinstance(raw, str):
        raise UnfitValue(f'it takes money with its currency like "40 USD", not {_called(raw)}')
    return parse_money(raw)


def _window(_key: Key, raw: object, _place: Place) -> object:
    if not isinstance(raw, str) or not _WINDOW.fullmatch(raw):
        raise UnfitValue(f'it takes a window like "24h" or "7d", not {_called(raw)}')
    return raw


def _zone(_key: Key, raw: object, _place: Place) -> object:
    if raw == "local":
        return raw
    try:
        zoneinfo.ZoneInfo(str(raw))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        near = difflib.get_close_matches(str(raw), zoneinfo.available_timezones(), n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ", like Europe/Berlin, UTC or local"
        raise UnfitValue(f"{_called(raw)} is not a time zone{hint}") from None
    return raw


def _path(_key: Key, raw: object, place: Place) -> Path:
    if not isinstance(raw, str) or not raw or "\0" in raw:
        raise UnfitValue(f"it takes a path, not {_called(raw)}")
    return absolute(raw, place)


def absolute(written: str, place: Place) -> Path:
    """Return the path that `written` means at `place`."""
    if written == "~" or written.startswith("~/"):
        return place.home / written[2:]
    return place.base / written


def _place(_key: Key, raw: object, place: Place) -> str:
    if not isinstance(raw, str) or not raw or "\0" in raw or "\n" in raw:
        raise UnfitValue(f"it takes a path, a pattern or a URL, not {_called(raw)}")
    return raw if "://" in raw else str(absolute(raw, place))


def _places(key: Key, raw: object, place: Place) -> object:
    if not isinstance(raw, list) or not raw:
        raise UnfitValue(f"it takes a list of paths, patterns and URLs, not {_called(raw)}")
    return tuple(_place(key, each, place) for each in raw)


def _profile(_key: Key, raw: object, place: Place) -> object:
    if not isinstance(raw, str) or not raw:
        raise UnfitValue(f"it takes the name or path of a profile, not {_called(raw)}")
    return str(absolute(raw, place)) if raw.endswith(".toml") else raw


def _url(key: Key, raw: object, place: Place) -> object:
    if isinstance(raw, Mapping):
        return _secret(key, raw, place)
    if not isinstance(raw, str) or "://" not in raw:
        raise UnfitValue("it takes a database URL or a reference to one")
    if _PASSWORD_IN_URL.search(raw):
        raise LiteralSecret("a password stands in the URL")
    return raw


def _secret(_key: Key, raw: object, place: Place) -> SecretReference:
    if isinstance(raw, str):
        raise LiteralSecret("a secret stands in the file itself")
    if not isinstance(raw, Mapping) or not raw:
        raise UnfitValue('it takes a reference like { env = "NAME" } or { file = "PATH" }')
    return SecretReference(tuple(_source(name, value, place) for name, value in raw.items()))


def _source(name: str, value: object, place: Place) -> SecretSource:
    match name:
        case "command":
            return SecretSource("command", _command(value))
        case "file":
            return SecretSource("file", (str(absolute(_one(name, value), place)),))
        case "credential":
            credential = _one(name, value)
            if "/" in credential or credential.startswith("."):
                raise UnfitValue("a credential is a name below $CREDENTIALS_DIRECTORY, not a path")
            return SecretSource("credential", (credential,))
        case "env":
            return SecretSource("env", (_one(name, value),))
    near = difflib.get_close_matches(name, PLACES, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    raise UnfitValue(f'a secret is found by {", ".join(PLACES)}, not by "{name}"{hint}')


def _one(name: str, value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise UnfitValue(f"{name} takes one text")
    return value


def _command(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise UnfitValue('command takes a list of texts like ["pass", "show", "kimi"]')
    return tuple(value)


def _prices(_key: Key, raw: object, _place: Place) -> tuple[Price, ...]:
    """Read one price of a model, or several with their dates."""
    entries = raw if isinstance(raw, list) else [raw]
    if not entries:
        raise UnfitValue("it takes a table with currency, input, cached_input and output")
    return tuple(read_price(entry, dated=len(entries) > 1) for entry in entries)


def _conditions(_key: Key, raw: object, _place: Place) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(each, str) for each in raw):
        raise UnfitValue(f'it takes a list of conditions like ["failed < 2%"], not {_called(raw)}')
    for each in raw:
        read_condition(each)
    return tuple(raw)


def _any(_key: Key, raw: object, _place: Place) -> object:
    return raw


def _sinks(_key: Key, raw: object, place: Place) -> tuple[SinkSpec, ...]:
    try:
        return read_sinks(raw, place.base, place.home)
    except ValueError as exc:
        raise UnfitValue(str(exc)) from None


def _called(raw: object) -> str:
    match raw:
        case bool():
            return "true" if raw else "false"
        case str():
            return f'"{raw[:40]}"'
        case int() | float():
            return str(raw)
        case Mapping():
            return "a table"
        case list():
            return "a list"
    return f"a {type(raw).__name__}"


_READERS: Mapping[Kind, Callable[[Key, Any, Place], object]] = {
    "text": _text,
    "age": _age,
    "bool": _bool,
    "count": _count,
    "choice": _choice,
    "columns": _columns,
    "place": _place,
    "places": _places,
    "duration": _duration,
    "money": _money,
    "path": _path,
    "profile": _profile,
    "secret": _secret,
    "size": _size,
    "url": _url,
    "window": _window,
    "zone": _zone,
    "prices": _prices,
    "conditions": _conditions,
    "any": _any,
    "sinks": _sinks,
}
