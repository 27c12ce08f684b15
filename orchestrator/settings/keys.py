"""The flat table of settings, derived from the structs in `schema`."""

from __future__ import annotations

import difflib
import functools
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path as FilePath
from typing import Literal

import msgspec

from orchestrator.domain.money import Money
from orchestrator.settings import schema
from orchestrator.settings.references import SecretReference

Path = tuple[str, ...]
Kind = Literal[
    "text",
    "age",
    "bool",
    "count",
    "choice",
    "columns",
    "place",
    "places",
    "duration",
    "money",
    "path",
    "profile",
    "secret",
    "size",
    "url",
    "window",
    "zone",
    "sinks",
    "prices",
    "conditions",
    "any",
]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_MARKED: Mapping[str, Kind] = {
    "age": "age",
    "columns": "columns",
    "place": "place",
    "places": "places",
    "count": "count",
    "profile": "profile",
    "window": "window",
    "zone": "zone",
    "url": "url",
    "sinks": "sinks",
    "prices": "prices",
    "conditions": "conditions",
}
_TYPED: Mapping[object, Kind] = {
    str: "text",
    bool: "bool",
    timedelta: "duration",
    Money: "money",
    FilePath: "path",
    SecretReference: "secret",
    schema.Size: "size",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One setting. `path` holds `*` where a name of the user's stands."""

    path: Path
    kind: Kind
    default: object
    help: str
    required: bool = False
    choices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The key with dots."""
        return ".".join(self.path)


def dotted(path: Path) -> str:
    """Return `path` as it is written: parts with a dot or space in quotation marks."""
    return ".".join(part if _BARE.fullmatch(part) else f'"{part}"' for part in path)


@functools.cache
def all_keys() -> Mapping[Path, Key]:
    """Return every setting by its pattern path."""
    return {key.path: key for key in _keys_of(schema.Settings, ())}


@functools.cache
def tables() -> frozenset[Path]:
    """Return the pattern paths of the tables that settings stand in."""
    return frozenset(path[:depth] for path in all_keys() for depth in range(1, len(path)))


def _keys_of(struct: type[msgspec.Struct], prefix: Path) -> list[Key]:
    found: list[Key] = []
    defaults = {field.name: field for field in msgspec.structs.fields(struct)}
    for name, hint in typing.get_type_hints(struct, include_extras=True).items():
        found.extend(_keys_of_field(name, hint, defaults[name], prefix))
    return found


def _keys_of_field(
    name: str, hint: object, field: msgspec.structs.FieldInfo, prefix: Path
) -> list[Key]:
    inner, marks = _unwrap(hint)
    if "set" in marks:
        return []
    here = (*prefix, name)
    if isinstance(inner, type) and issubclass(inner, msgspec.Struct) and inner not in _TYPED:
        return _keys_of(inner, here)
    help_line = marks[-1] if marks else ""
    if typing.get_origin(inner) is Mapping or typing.get_origin(inner) is dict:
        value = typing.get_args(inner)[1]
        if isinstance(value, type) and issubclass(value, msgspec.Struct):
            return _keys_of(value, (*here, "*"))
        marked = (_MARKED[mark] for mark in marks if mark in _MARKED)
        kind = next(marked, "text" if value is str else "any")
        return [Key((*here, "*"), kind, None, help_line)]
    return [
        Key(
            here,
            _kind(inner, marks),
            None if field.default is msgspec.NODEFAULT else field.default,
            help_line,
            required=field.required,
            choices=typing.get_args(inner) if typing.get_origin(inner) is Literal else (),
        )
    ]


def _unwrap(hint: object) -> tuple[object, list[str]]:
    """Strip Annotated and None, however nested; return the bare type and the marks, help last."""
    marks: list[str] = []
    while True:
        if typing.get_origin(hint) is typing.Annotated:
            hint, *found = typing.get_args(hint)
            marks = [*found, *marks]
        elif isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
            rest = [arg for arg in typing.get_args(hint) if arg is not type(None)]
            if len(rest) != 1:
                return hint, marks
            hint = rest[0]
        else:
            return hint, marks


def _kind(inner: object, marks: list[str]) -> Kind:
    for mark in marks:
        if mark in _MARKED:
            return _MARKED[mark]
    return "choice" if typing.get_origin(inner) is Literal else _TYPED[inner]


def pattern_of(path: Path) -> Path | None:
    """Return the pattern that `path` fits as a setting or a table, None if there is none."""
    for pattern in (*all_keys(), *tables()):
        if _fits(pattern, path):
            return pattern
    return None


def key_of(path: Path) -> Key | None:
    """Return the setting that `path` names, None if there is none."""
    for pattern, key in all_keys().items():
        if _fits(pattern, path):
            return key
    return None


def later(path: Path) -> str:
    """Return what `path` waits for, if it belongs to a later release; else nothing."""
    for name, what in schema.LATER.items():
        pattern = tuple(name.split("."))
        if _fits(pattern, path[: len(pattern)]):
            return what
    return ""


def _fits(pattern: Path, path: Path) -> bool:
    return len(pattern) == len(path) and all(
        want in ("*", part) for want, part in zip(pattern, path, strict=True)
    )


def nearest(path: Path) -> str:
    """Return the setting that a mistyped `path` most likely means, empty if none is near.

    Names of the user's in `path` are kept, so that the suggestion can be copied.
    """
    *parents, last = path
    siblings = {
        pattern[len(parents)]
        for pattern in all_keys()
        if len(pattern) > len(parents)
        and _fits(pattern[: len(parents)], tuple(parents))
        and pattern[len(parents)] != "*"
    }
    near = difflib.get_close_matches(last.lower(), siblings, n=1)
    if near:
        return dotted((*parents, near[0]))
    elsewhere = [key.name for key in all_keys().values() if key.path[-1] == last]
    return elsewhere[0] if len(elsewhere) == 1 else ""
