"""Find repeated keys among any number of records in bounded memory.

Keys go into 128 partitions by their checksum, on disk once they outgrow a small buffer; a key can
only repeat within its own partition, so that one partition at a time is looked at.
"""

from __future__ import annotations

import heapq
import io
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple
from zlib import crc32

from orchestrator.domain.custom_ids import custom_id
from orchestrator.domain.rendering import text_json

PARTITIONS = 128
BUFFER_BYTES = 8_000_000
"""About 200,000 keys of 30 characters: smaller jobs never touch the disk."""

_ENTRY = struct.Struct("<QI")
_ORDINAL = struct.Struct("<Qq")
_FIRST = struct.Struct("<Q")


class Entry(NamedTuple):
    """A position in the source and what was noted for it."""

    position: int
    payload: bytes


class Partitions:
    """Append-only lists of entries, in memory up to `buffer_bytes` for all, then in files.

    The files live in `folder` under `name` and can be thrown away with it.
    """

    def __init__(
        self, folder: Path, name: str, count: int = PARTITIONS, buffer_bytes: int = BUFFER_BYTES
    ) -> None:
        self._stem = folder / name
        self._buffers = [bytearray() for _ in range(count)]
        self._spilled: set[int] = set()
        self._held = 0
        self._buffer_bytes = buffer_bytes

    def append(self, index: int, position: int, payload: bytes) -> None:
        """Note `payload` for `position` in partition `index`."""
        self._buffers[index] += _ENTRY.pack(position, len(payload)) + payload
        self._held += 12 + len(payload)
        if self._held > self._buffer_bytes:
            self._spill()

    def _spill(self) -> None:
        for index, buffer in enumerate(self._buffers):
            if buffer:
                # A file of an earlier, interrupted scan in the same folder is none of ours.
                with self._path(index).open("ab" if index in self._spilled else "wb") as file:
                    file.write(buffer)
                self._spilled.add(index)
                buffer.clear()
        self._held = 0

    def __len__(self) -> int:
        return len(self._buffers)

    def entries(self, index: int) -> Iterator[Entry]:
        """Yield the entries of partition `index` in the order they were appended."""
        if index in self._spilled:
            with self._path(index).open("rb") as file:
                yield from _read(file)
        yield from _read(io.BytesIO(self._buffers[index]))

    def in_order(self) -> Iterator[Entry]:
        """Yield the entries of all partitions by position, if each was appended so."""
        used = [i for i, buffer in enumerate(self._buffers) if buffer or i in self._spilled]
        return heapq.merge(*map(self.entries, used))

    def _path(self, index: int) -> Path:
        return self._stem.with_name(f"{self._stem.name}-{index:03}")


def _read(file: BinaryIO) -> Iterator[Entry]:
    while head := file.read(_ENTRY.size):
        position, length = _ENTRY.unpack(head)
        yield Entry(position, file.read(length))


class Repeat(NamedTuple):
    """A record whose key was seen before. `ordinal` makes its suffixed key: `key~ordinal`."""

    position: int
    ordinal: int
    growth: int
    """How many bytes longer the batch line gets by the suffix."""


class RepeatedKey(NamedTuple):
    """A record whose key was seen before, and where."""

    position: int
    first: int
    key: str


class Keys:
    """All keys of one scan, and afterwards those that repeat."""

    def __init__(
        self,
        folder: Path,
        *,
        id_limit: int,
        on_duplicate: Literal["error", "suffix", "skip"],
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        self._keys = Partitions(folder, "keys", buffer_bytes=buffer_bytes)
        self._taken = Partitions(folder, "suffixed", buffer_bytes=buffer_bytes)
        self._repeats = Partitions(folder, "repeats", buffer_bytes=buffer_bytes)
        self._named = Partitions(folder, "repeated-keys", buffer_bytes=buffer_bytes)
        self._id_limit = id_limit
        self._suffix = on_duplicate == "suffix"
        self._name = on_duplicate == "error"
        self.repeated = 0

    def add(self, position: int, key: str) -> None:
        """Note the key of the record at `position`; positions rise."""
        raw = key.encode()
        self._keys.append(crc32(raw) % PARTITIONS, position, raw)
        if self._suffix and "~" in key:
            self._reserve(key)

    def _reserve(self, key: str) -> None:
        # A key that looks suffixed is noted with the key it looks suffixed from, so that no later
        # suffix can make the same key again.
        base, _, tail = key.rpartition("~")
        if tail.isascii() and tail.isdigit() and tail[0] != "0" and len(tail) < 15:
            raw = base.encode()
            self._taken.append(crc32(raw) % PARTITIONS, int(tail), raw)

    def find(self) -> None:
        """Find the repeated keys; call it once, after the last `add`."""
        for index in range(PARTITIONS):
            taken = {(raw, number) for number, raw in self._taken.entries(index)}
            self._find(index, taken)

    def _find(self, index: int, taken: set[tuple[bytes, int]]) -> None:
        first: dict[bytes, int] = {}
        latest: dict[bytes, int] = {}
        for position, raw in self._keys.entries(index):
            if first.setdefault(raw, position) == position:
                continue
            ordinal = latest.get(raw, 1) + 1
            while (raw, ordinal) in taken:
                ordinal += 1
            latest[raw] = ordinal
            self.repeated += 1
            if self._name:
                self._named.append(index, position, _FIRST.pack(first[raw]) + raw)
            else:
                payload = _ORDINAL.pack(ordinal, self._growth(raw.decode(), ordinal))
                self._repeats.append(index, position, payload)

    def _growth(self, key: str, ordinal: int) -> int:
        if not self._suffix:
            return 0
        return self._id_bytes(suffixed(key, ordinal)) - self._id_bytes(key)

    def _id_bytes(self, key: str) -> int:
        return len(text_json(custom_id(key, self._id_limit)))

    def repeats(self) -> Iterator[Repeat]:
        """Yield the records with a repeated key, by position, where they are not an error."""
        for position, payload in self._repeats.in_order():
            ordinal, growth = _ORDINAL.unpack(payload)
            yield Repeat(position, ordinal, growth)

    def named(self) -> Iterator[RepeatedKey]:
        """Yield them with the key and the position where it was seen first, where they are one."""
        for position, payload in self._named.in_order():
            (first,) = _FIRST.unpack_from(payload)
            yield RepeatedKey(position, first, payload[_FIRST.size :].decode())


def suffixed(key: str, ordinal: int) -> str:
    """Return the key of the `ordinal`-th record with the same `key`."""
    return f"{key}~{ordinal}"


def quick_hash(body: bytes) -> bytes:
    """Return a 64-bit hash; among 10 million bodies, one false twin in 300,000 jobs."""
    # Never leaves this process, where the interpreter's own keyed hash is three times faster than
    # any of hashlib.
    return (hash(body) & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little")


class Bodies:
    """How many requests ask the very same as another one, told by a hash of each body."""

    def __init__(
        self,
        folder: Path,
        buffer_bytes: int = BUFFER_BYTES,
        hasher: Callable[[bytes], bytes] = quick_hash,
    ) -> None:
        self._hashes = Partitions(folder, "bodies", buffer_bytes=buffer_bytes)
        self._hash = hasher

    def add(self, body: bytes) -> None:
        """Note one body."""
        value = self._hash(body)
        self._hashes.append(value[0] % PARTITIONS, 0, value)

    def counts(self) -> Iterator[Mapping[bytes, int]]:
        """Yield how often each hash was noted, a part of all hashes at a time."""
        for index in range(PARTITIONS):
            yield Counter(payload for _, payload in self._hashes.entries(index))

    def repeated(self) -> tuple[int, int]:
        """Return how many bodies were noted more than once, and how many of them are spare."""
        total = different = 0
        for counts in self.counts():
            several = [count for count in counts.values() if count > 1]
            total, different = total + sum(several), different + len(several)
        return total, total - different
