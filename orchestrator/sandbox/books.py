"""What the provider knows and would bill: the other side of every audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BookedFile:
    """An uploaded file; `size` is in bytes."""

    id: str
    name: str
    size: int
    purpose: str
    deleted: bool


@dataclass(frozen=True, slots=True)
class BookedBatch:
    """A batch. `executed` lines ran, `billed` ones were answered; `total` is 0 until validated."""

    id: str
    input_file_id: str
    metadata: Mapping[str, str]
    status: str
    created: float
    total: int
    executed: int
    billed: int


@dataclass(frozen=True, slots=True)
class Books:
    """Every file and batch, and how often each custom_id was executed and billed in all."""

    files: tuple[BookedFile, ...]
    batches: tuple[BookedBatch, ...]
    executed: Mapping[str, int]
    billed: Mapping[str, int]

    def billed_twice(self) -> dict[str, int]:
        """Return the custom_ids that were billed more than once, and how often."""
        return {name: count for name, count in self.billed.items() if count > 1}

    def batches_per_metadata(self, key: str) -> Counter[str]:
        """Count the batches by their metadata value under `key`."""
        return Counter(batch.metadata[key] for batch in self.batches if key in batch.metadata)

    def batches_per_input(self) -> Counter[str]:
        """Count the batches by input file."""
        return Counter(batch.input_file_id for batch in self.batches)
