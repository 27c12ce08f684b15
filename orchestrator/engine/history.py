"""What was submitted before of the source that a job is a run of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import msgspec

from orchestrator.domain.errors import NotFound, OrchestratorError
from orchestrator.domain.spec import JobSpec
from orchestrator.registry import series
from orchestrator.registry.series import Held, Run
from orchestrator.registry.session import Registry

MAX_SERIES_BYTES = 500
"""Longer ones are told by their hash: an indexed column of PostgreSQL takes no more than 2,704."""

_ASKED = (
    *("prompt", "template", "system", "lines", "images", "overrides"),
    *("body", "model", "answer", "endpoint"),
)
"""The fields of a spec that say what is asked about a record."""

_spec = msgspec.json.Decoder(JobSpec)


def series_of(spec: JobSpec) -> str:
    """Return the series that a job belongs to: the one it names, else that of its source."""
    text = spec.series or spec.source
    if spec.source_options and not spec.series:
        text += f" {msgspec.json.encode(spec.source_options, order='sorted').decode()}"
    if len(text.encode("utf-8", "surrogatepass")) <= MAX_SERIES_BYTES:
        return text
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class History:
    """The earlier jobs of the series that `spec` is a run of. Without a registry there are none.

    A series that is named holds whatever was asked about its records; of one that is only told by
    its source those jobs count that have asked the same: nobody is to miss an answer to a question
    that was never put.
    """

    def __init__(self, registry: Callable[[], Registry], spec: JobSpec) -> None:
        self._registry = registry
        self._wanted = spec
        self._of = series_of(spec)
        self._runs: list[Run] | None = None

    def latest(self) -> Run | None:
        """Return the latest job over the source; None too where the registry can't be asked."""
        try:
            with self._registry().read() as db:
                return next(iter(series.runs(db, self._of, 1)), None)
        except OrchestratorError:
            return None

    def runs(self) -> Sequence[Run]:
        """Return the jobs that count, the latest first; asked for once. Raises RegistryError."""
        if self._runs is None:
            try:
                with self._registry().read() as db:
                    found = series.runs(db, self._of)
            except NotFound:
                found = []
            self._runs = [run for run in found if self._counts(run)]
        return self._runs

    def _counts(self, run: Run) -> bool:
        if self._wanted.series:
            return True
        asked = _spec.decode(run.spec)
        return all(getattr(asked, name) == getattr(self._wanted, name) for name in _ASKED)

    def held(self, custom_ids: Sequence[str]) -> Mapping[str, Held]:
        """Return what the latest job that holds each of these records has of it."""
        ids = [run.id for run in self.runs()]
        if not ids:
            return {}
        with self._registry().read() as db:
            return {held.custom_id: held for held in series.held(db, ids, custom_ids)}
