"""Where a batch stands: a pure function of its times and the clock.

validating -> in_progress -> finalizing -> completed
    |  failed     |  expired     |  expired
    +-------------+--------------+--> cancelling -> cancelled
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from orchestrator.sandbox.draws import Draws
from orchestrator.sandbox.temper import Batches

FINAL = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass(frozen=True, slots=True)
class Course:
    """The times, in Unix seconds, at which a batch that nobody cancels will move."""

    created: float
    validated: float
    ran: float
    completed: float
    deadline: float
    cancelling_seconds: float
    cancel_ignored: bool
    rejected: bool

    @property
    def expires(self) -> bool:
        """Whether the window closes before the results are written."""
        return self.completed > self.deadline


@dataclass(frozen=True, slots=True)
class Stage:
    """What a batch shows at one moment. `progress` is the share of its lines that have run."""

    status: str
    progress: float = 0.0
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None

    @property
    def final(self) -> bool:
        """Whether the batch will not move any more."""
        return self.status in FINAL


def draw_course(
    batch_id: str, created: float, window: float, temper: Batches, draws: Draws
) -> Course:
    """Draw how long the batch takes; `window` is in seconds."""
    validated = created + draws.between(temper.validating, "validating", batch_id)
    running = draws.between(temper.running, "running", batch_id)
    if draws.unit("expires", batch_id) < temper.expired:
        running = window * (1.05 + draws.unit("overrun", batch_id))
    ran = validated + running
    return Course(
        created=created,
        validated=validated,
        ran=ran,
        completed=ran + draws.between(temper.finalizing, "finalizing", batch_id),
        deadline=created + window,
        cancelling_seconds=draws.between(temper.cancelling, "cancelling", batch_id),
        cancel_ignored=draws.unit("cancel", batch_id) < temper.cancel_ignored,
        rejected=draws.unit("rejected", batch_id) < temper.rejected,
    )


def file_is_read(course: Course, cancelled: float | None, now: float) -> bool:
    """Say whether validation has ended by `now`; if not, nobody needs to read the file."""
    stopped = cancelled is not None and cancelled < course.validated and not course.cancel_ignored
    return now >= course.validated and not stopped


def stage_at(course: Course, cancelled: float | None, now: float, *, valid: bool) -> Stage:
    """Return the stage at `now` of a batch whose cancellation was asked at `cancelled`."""
    if cancelled is None or now < cancelled:
        return _undisturbed(course, now, valid=valid)
    if course.cancel_ignored:
        stage = dataclasses.replace(_undisturbed(course, now, valid=valid), cancelling_at=cancelled)
        return stage if stage.final else dataclasses.replace(stage, status="cancelling")
    stopped = _undisturbed(course, cancelled, valid=valid)
    ended = cancelled + course.cancelling_seconds
    if now < ended:
        return dataclasses.replace(stopped, status="cancelling", cancelling_at=cancelled)
    return dataclasses.replace(
        stopped, status="cancelled", cancelling_at=cancelled, cancelled_at=ended
    )


def _undisturbed(course: Course, now: float, *, valid: bool) -> Stage:
    if now < course.validated:
        return Stage("validating")
    if not valid:
        return Stage("failed", failed_at=course.validated)
    running = max(course.ran - course.validated, 1e-9)
    if course.expires and now >= course.deadline:
        progress = (course.deadline - course.validated) / running
        return Stage("expired", min(1.0, max(0.0, progress)), in_progress_at=course.validated)
    if now < course.ran:
        return Stage("in_progress", (now - course.validated) / running, course.validated)
    if now < course.completed:
        return Stage("finalizing", 1.0, course.validated, course.ran)
    return Stage("completed", 1.0, course.validated, course.ran, course.completed)
