"""What a job adds up to: counts for each model, and the files that its requests will fill."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain.packing import MAX_REQUESTS, FileLimits, Packer, PlannedFile
from orchestrator.domain.profile import Profile

FILES_LISTED = 1000
"""Planned files that are listed one by one; more are only counted."""


@dataclass(slots=True)
class ModelStats:
    """What one model will be asked. `first_position` is the first record that names it.

    `tokens_out_known` sums the bounds of those requests that set one; `unbounded` counts the rest.
    """

    model: str
    first_position: int
    requests: int = 0
    bytes: int = 0
    quarter_tokens_in: int = 0
    tokens_out_known: int = 0
    unbounded: int = 0

    @property
    def tokens_in(self) -> int:
        """Estimated prompt tokens; the assumption stands in `domain.cost`."""
        return -(-self.quarter_tokens_in // 4)

    @property
    def tokens_out_max(self) -> int | None:
        """The most tokens all answers together may have; None if some request sets no bound."""
        return None if self.unbounded else self.tokens_out_known


class Tally:
    """Running totals. Holds one entry for each model and the first 1,000 planned files."""

    def __init__(self, profile: Profile, requests_per_file: int = MAX_REQUESTS) -> None:
        self._limits = FileLimits.of(profile, requests_per_file)
        self._one_model = profile.limits.models_per_file == "one"
        self._packers: dict[str, Packer] = {}
        self.models: dict[str, ModelStats] = {}
        self.files: list[PlannedFile] = []
        self.files_total = 0

    def add(
        self, model: str, position: int, size: int, quarter_tokens: int, max_out: int | None
    ) -> None:
        """Count one request; `size` is its batch line in bytes, `max_out` None without a bound."""
        stats = self.models.get(model)
        if stats is None:
            stats = self.models[model] = ModelStats(model, position)
        stats.requests += 1
        stats.bytes += size
        stats.quarter_tokens_in += quarter_tokens
        if max_out is None:
            stats.unbounded += 1
        else:
            stats.tokens_out_known += max_out
        group = model if self._one_model else ""
        packer = self._packers.get(group)
        if packer is None:
            packer = self._packers[group] = Packer(group, self._limits)
        self._closed(packer.add(size))

    def close(self) -> None:
        """Count the files that are not full."""
        for packer in self._packers.values():
            self._closed(packer.close())

    def _closed(self, file: PlannedFile | None) -> None:
        if file is not None:
            self.files_total += 1
            if len(self.files) < FILES_LISTED:
                self.files.append(file)
