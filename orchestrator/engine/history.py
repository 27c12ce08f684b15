"""What was submitted before of the source that a job is a run of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from orchestrator.domain.errors import NotFound, OrchestratorError
from orchestrator.domain.spec import JobSpec
from orchestrator.registry import series
from orchestrator.registry.series import Held, Run
from orchestrator.registry.session import Registry


def series_of(spec: JobSpec) -> str:
    """Return the series that a job belongs to: the one it names, else that of its source."""
    return spec.series or spec.source


class History:
    """The earlier jobs of one series. Where there is no registry yet, there are none."""

    def __init__(self, registry: Callable[[], Registry], of: str) -> None:
        self._registry = registry
        self._of = of
        self._runs: list[Run] | None = None

    def latest(self) -> Run | None:
        """Return the latest job; None too where the registry can't be asked."""
        try:
            with self._registry().read() as db:
                return next(iter(series.runs(db, self._of, 1)), None)
        except OrchestratorError:
            return None

    def runs(self) -> Sequence[Run]:
        """Return all of them, the latest first; asked for once. Raises RegistryError."""
        if self._runs is None:
            try:
                with self._registry().read() as db:
                    self._runs = series.runs(db, self._of)
            except NotFound:
                self._runs = []
        return self._runs

    def held(self, custom_ids: Sequence[str]) -> Mapping[str, Held]:
        """Return what the latest job that holds each of these records has of it."""
        ids = [run.id for run in self.runs()]
        if not ids:
            return {}
        with self._registry().read() as db:
            return {held.custom_id: held for held in series.held(db, ids, custom_ids)}
