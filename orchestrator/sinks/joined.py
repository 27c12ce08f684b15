"""Many JSON values that came as one array: taken apart only where somebody wants them apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import msgspec

_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode
_texts: Callable[[str | bytes], list[str]] = msgspec.json.Decoder(list[str]).decode


def decoded_keys(array: str | bytes) -> list[str]:
    """Return the strings of a JSON array."""
    return _texts(array)


def raw_values(array: str | bytes) -> list[str]:
    """Return the values of a JSON array as the texts that they are in it."""
    return [bytes(value).decode() for value in _raw(array)]


class Joined(Sequence[str]):
    """`count` texts in the JSON array `array`; `apart` is how they are taken out of it."""

    def __init__(
        self,
        array: str | bytes,
        count: int,
        apart: Callable[[str | bytes], list[str]] = raw_values,
    ) -> None:
        self.array = array
        self._count = count
        self._apart = apart
        self._values: list[str] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: Any) -> Any:
        if self._values is None:
            self._values = self._apart(self.array)
        return self._values[index]
