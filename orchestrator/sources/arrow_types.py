"""Arrow types by the words that a Column keeps: `decimal128(10, 2)`, `list<item: string>`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress

import pyarrow as pa

_SIMPLE = re.compile(r"[a-z_0-9]+(\[[a-z]+\])?")
_ZONED = re.compile(r"timestamp\[(s|ms|us|ns), tz=([^\]]+)\]")
_DECIMAL = re.compile(r"decimal(32|64|128|256)\((\d+), (-?\d+)\)")
_FIXED_BINARY = re.compile(r"fixed_size_binary\[(\d+)\]")
_LISTS: dict[str, Callable[[pa.Field], pa.DataType]] = {
    "list<item: ": pa.list_,
    "large_list<item: ": pa.large_list,
}
_DECIMALS = {"32": "decimal32", "64": "decimal64", "128": "decimal128", "256": "decimal256"}

Test = Callable[[pa.DataType], bool]
Parsed = Iterator[tuple[pa.DataType, str]]


class NoTextForm(Exception):
    """A type whose values have no form in JSON that would bring them back."""


def any_of(*tests: Test) -> Test:
    """Return whether a type passes one of `tests`."""
    return lambda of: any(test(of) for test in tests)


is_list = any_of(
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
is_large = any_of(pa.types.is_large_list, pa.types.is_large_list_view)
is_binary = any_of(
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_binary_view,
)
is_encoded = any_of(pa.types.is_dictionary, pa.types.is_run_end_encoded)


def is_extension(of: pa.DataType) -> bool:
    """Whether a type is another one with a meaning."""
    return isinstance(of, pa.BaseExtensionType)


def is_uuid(of: pa.DataType) -> bool:
    """Whether a type is Arrow's own for UUIDs."""
    return str(of) == "extension<arrow.uuid>"


def stored_type(of: pa.DataType) -> pa.DataType:
    """Return the type by which values of type `of` are kept: how they are encoded is left out.

    Raises NoTextForm for a type that JSON can't carry.
    """
    for test, kept in _STORED:
        if test(of):
            return kept(of)
    return of


def _refuse(of: pa.DataType) -> pa.DataType:
    raise NoTextForm(f"the type {of} has no form as text")


def _stored_list(of: pa.DataType) -> pa.DataType:
    item = pa.field("item", stored_type(of.value_type))
    return pa.large_list(item) if is_large(of) else pa.list_(item)


def _stored_struct(of: pa.StructType) -> pa.DataType:
    return pa.struct([(name, stored_type(of.field(i).type)) for i, name in enumerate(members(of))])


def members(of: pa.StructType) -> list[str]:
    """Return the names of the members. Raises NoTextForm for two of one name."""
    names = [of.field(index).name for index in range(of.num_fields)]
    if len(set(names)) < len(names):
        raise NoTextForm(f"the type {of} has two members of one name")
    return names


_STORED: tuple[tuple[Test, Callable[[pa.DataType], pa.DataType]], ...] = (
    (is_uuid, lambda _of: pa.string()),
    (is_extension, lambda of: stored_type(of.storage_type)),
    (is_encoded, lambda of: stored_type(of.value_type)),
    (pa.types.is_string_view, lambda _of: pa.string()),
    (pa.types.is_binary_view, lambda _of: pa.binary()),
    (pa.types.is_float16, lambda _of: pa.float32()),
    (is_list, _stored_list),
    (pa.types.is_struct, _stored_struct),
    (pa.types.is_map, lambda of: pa.map_(stored_type(of.key_type), stored_type(of.item_type))),
    (any_of(pa.types.is_union, pa.types.is_interval), _refuse),
)


def words_of(of: pa.DataType) -> str:
    """Return the words of a type as a Column keeps them. Raises NoTextForm."""
    return str(stored_type(of))


def type_of(words: str) -> pa.DataType:
    """Return the type that `words` stand for. Raises ValueError for none."""
    for found, rest in _parsed(words):
        if not rest:
            return found
    raise ValueError(f"no Arrow type is written {words!r}")


def _parsed(text: str) -> Parsed:
    """Yield the types that `text` may begin with, and what is left: a name may hold anything."""
    for head, make in _LISTS.items():
        if text.startswith(head):
            for item, rest in _closed(text[len(head) :]):
                yield make(pa.field("item", item)), rest
            return
    if text.startswith("struct<"):
        for fields, rest in _fields(text[len("struct<") :]):
            yield pa.struct(fields), rest
    elif text.startswith("map<"):
        for key, rest in _parsed(text[len("map<") :]):
            for item, after in _closed(rest.removeprefix(", ")):
                yield pa.map_(key, item), after
    else:
        yield from _flat(text)


def _closed(text: str) -> Parsed:
    return ((found, rest[1:]) for found, rest in _parsed(text) if rest.startswith(">"))


def _fields(text: str) -> Iterator[tuple[list[pa.Field], str]]:
    if text.startswith(">"):
        yield [], text[1:]
    for colon in re.finditer(": ", text):
        name = text[: colon.start()]
        for kind, rest in _parsed(text[colon.end() :]):
            field = pa.field(name, kind)
            if rest.startswith(">"):
                yield [field], rest[1:]
            elif rest.startswith(", "):
                for others, after in _fields(rest[2:]):
                    yield [field, *others], after


def _flat(text: str) -> Parsed:
    if found := _ZONED.match(text):
        yield pa.timestamp(found[1], found[2]), text[found.end() :]
    elif found := _DECIMAL.match(text):
        make = getattr(pa, _DECIMALS[found[1]])
        yield make(int(found[2]), int(found[3])), text[found.end() :]
    elif found := _FIXED_BINARY.match(text):
        yield pa.binary(int(found[1])), text[found.end() :]
    elif found := _SIMPLE.match(text):
        with suppress(ValueError):
            yield pa.type_for_alias(found[0]), text[found.end() :]
