"""The source of a job as its spec chooses from it: opened, filtered, compared with earlier jobs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.domain.errors import SourceError
from orchestrator.domain.profile import Profile
from orchestrator.domain.spec import JobSpec
from orchestrator.engine.changes import Changed
from orchestrator.engine.history import History
from orchestrator.engine.intake import Scan
from orchestrator.engine.opening import Reach
from orchestrator.engine.writing_back import left_out
from orchestrator.sources.filtered import Filtered
from orchestrator.sources.port import Opening, Source
from orchestrator.sources.registry import open_source

NOTHING_FITS = "ORC2043"


@dataclass(frozen=True)
class Chosen:
    """A source, and what is passed over of it. `records` is what a job is made of."""

    records: Source
    opened: Source
    history: History | None = None
    filtered: Filtered | None = None
    changed: Changed | None = None

    def told(self, scan: Scan) -> Scan:
        """Return the scan of `records` with what was passed over, and what the source was before.

        Raises SourceError (ORC2043) when no record fits the condition.
        """
        passed_over = self.filtered.passed_over if self.filtered else 0
        unchanged = self.changed.unchanged if self.changed else 0
        if passed_over and not (scan.rows or unchanged):
            raise _nothing_fits(self.opened.name, passed_over)
        source_hash = self.opened.digest()
        latest = self.history.latest() if self.history else None
        counted = self.history.runs() if self.history and self.changed else ()
        other = latest is not None and latest.source_digest not in ("", source_hash)
        return replace(
            scan,
            passed_over=passed_over,
            unchanged=unchanged,
            source_hash=source_hash,
            latest=counted[0].name if counted else "",
            changed_since=latest.name if latest and other else "",
        )


def choose(spec: JobSpec, profile: Profile, opening: Opening, workdir: Path) -> Chosen:
    """Open the source of `spec` with its condition, and compare it where only changes are wanted.

    `workdir` holds files that go with the reading. Where no registry can be reached, every record
    is a new one.
    """
    history = History(opening.registry, spec) if isinstance(opening, Reach) else None
    added = left_out(spec, history) if history else frozenset[str]()
    opened: Source = open_source(
        spec.source,
        spec.source_format,
        options=spec.source_options,
        opening=replace(opening, workdir=workdir, left_out=added),
    )
    filtered = Filtered(opened, spec.where) if spec.where else None
    wanted: Source = filtered or opened
    if not spec.changed_only or history is None:
        return Chosen(wanted, opened, history, filtered)
    changed = Changed(wanted, spec, profile, history, workdir)
    return Chosen(changed, opened, history, filtered, changed)


def _nothing_fits(name: str, count: int) -> SourceError:
    return SourceError(
        f"no record of {name} fits the condition",
        code=NOTHING_FITS,
        why=f"{count:,} records were passed over",
        safe="nothing was registered, nothing was sent",
        next="look at the condition with: orchestrator plan ... --only CONDITION",
    )
