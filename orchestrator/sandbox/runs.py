"""How batches run: reading their input once, counting what is done, writing their results."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec

from orchestrator.sandbox.account import Account, Batch, File
from orchestrator.sandbox.blobs import Blobs
from orchestrator.sandbox.books import BookedBatch
from orchestrator.sandbox.draws import Draws
from orchestrator.sandbox.lines import Order, Plan, Problem, ShuffledLines, decode_line, read_file
from orchestrator.sandbox.results import (
    BILLED,
    COUNTED_COMPLETED,
    FAILED,
    Ending,
    Fate,
    ResultWriter,
    fate_drawer,
    problem_lines,
)
from orchestrator.sandbox.stages import Stage, file_is_read, stage_at
from orchestrator.sandbox.views import Standing


class Runs:
    """The running side of an account. Keeps at most one byte a line of every batch it has read."""

    def __init__(self, account: Account, blobs: Blobs, draws: Draws) -> None:
        self._account = account
        self._blobs = blobs
        self._draws = draws
        self._plans: dict[str, Plan] = {}

    def standing(self, batch: Batch, now: float) -> Standing:
        """Return what `batch` shows at `now`, a Unix time."""
        plan, stage = self._look(batch, now)
        if plan is None:
            return Standing(stage)
        if plan.problems:
            return self._failed(batch, plan, stage)
        done = _done(plan, stage)
        output, error = self._result_ids(batch, plan, stage, done)
        return Standing(
            stage,
            total=plan.total,
            completed=plan.count(COUNTED_COMPLETED, done),
            failed=plan.count(FAILED, done),
            output_file_id=output,
            error_file_id=error,
        )

    def result_files(self, batch: Batch, now: float) -> list[File]:
        """Return the result files that `batch` has at `now`; writes them if need be."""
        standing = self.standing(batch, now)
        ids = [standing.output_file_id, standing.error_file_id]
        return [
            self._result_file(batch, file_id, standing.stage)
            for file_id in ids
            if file_id and file_id not in self._account.deleted_results
        ]

    def booked(
        self, batch: Batch, now: float, executed: Counter[str], billed: Counter[str]
    ) -> BookedBatch:
        """Return the booked batch at `now`, and add its lines to the two counters."""
        standing = self.standing(batch, now)
        ran = paid = 0
        for custom_id, is_billed in self._finished_lines(batch, now):
            ran += 1
            executed[custom_id] += 1
            if is_billed:
                paid += 1
                billed[custom_id] += 1
        return BookedBatch(
            id=batch.id,
            input_file_id=batch.input_file_id,
            metadata=batch.metadata or {},
            status=standing.stage.status,
            created=batch.created,
            total=standing.total or 0,
            executed=ran,
            billed=paid,
        )

    def _finished_lines(self, batch: Batch, now: float) -> Iterator[tuple[str, bool]]:
        plan, stage = self._look(batch, now)
        if plan is None or plan.problems:
            return
        order = Order(plan.total, self._draws, batch.id)
        with contextlib.closing(ShuffledLines(self._blobs, batch.input_file_id, order)) as lines:
            for place, raw in enumerate(lines.between(0, _done(plan, stage))):
                fate = plan.fates[place] if plan.fates else Fate.ANSWERED
                if fate != Fate.MISSING:
                    yield decode_line(raw).custom_id, fate in BILLED

    def _look(self, batch: Batch, now: float) -> tuple[Plan | None, Stage]:
        if not file_is_read(batch.course, batch.cancelled, now):
            return None, stage_at(batch.course, batch.cancelled, now, valid=True)
        plan = self._plans.get(batch.id)
        if plan is None:
            plan = self._plans[batch.id] = self._read(batch)
        stage = stage_at(batch.course, batch.cancelled, now, valid=not plan.problems)
        return plan, stage

    def _read(self, batch: Batch) -> Plan:
        file = self._account.files[batch.input_file_id]
        fails = batch.temper.quirks.deleted_input == "fails"
        if fails and file.deleted is not None and file.deleted < batch.course.validated:
            return Plan(0, (Problem(0, "file_not_found", "the input file was deleted"),))
        if batch.course.rejected:
            return Plan(0, (Problem(0, "validation_error", "the file could not be validated"),))
        fate: Callable[[str], int] | None = fate_drawer(batch.temper.lines, self._draws, batch.id)
        with self._blobs.reader(batch.input_file_id) as source:
            return read_file(source, batch.temper.limits, fate, self._draws, batch.id)

    def _failed(self, batch: Batch, plan: Plan, stage: Stage) -> Standing:
        place = batch.temper.quirks.validation_errors
        shown = plan.problems if place == "errors" else ()
        return Standing(
            stage,
            error_file_id=batch.error_file_id if place == "error_file" else None,
            errors=tuple(msgspec.to_builtins(problem) for problem in shown),
        )

    def _result_ids(
        self, batch: Batch, plan: Plan, stage: Stage, done: int
    ) -> tuple[str | None, str | None]:
        quirks = batch.temper.quirks
        completed = stage.status == "completed"
        if not stage.final or not (completed or quirks.partial_results):
            return None, None
        answered, failed = plan.count(BILLED, done), plan.count(FAILED, done)
        if quirks.error_line == "in_output":
            answered, failed = answered + failed, 0
        if quirks.unfinished_lines == "listed":
            failed += plan.total - done
        has_errors = failed or (completed and quirks.empty_error_file)
        return (
            batch.output_file_id if answered else None,
            batch.error_file_id if has_errors else None,
        )

    def _result_file(self, batch: Batch, file_id: str, stage: Stage) -> File:
        size = self._blobs.size(file_id)
        if size is None:
            self._write(batch, stage)
            size = self._blobs.size(file_id) or 0
        kind = "output" if file_id == batch.output_file_id else "error"
        name = f"{batch.id}_{kind}.jsonl"
        return File(file_id, name, size, "batch_output", _ended(batch, stage), batch_id=batch.id)

    def _write(self, batch: Batch, stage: Stage) -> None:
        plan = self._plans[batch.id]
        if plan.problems:
            writer = self._blobs.writer()
            writer.write(problem_lines(plan.problems))
            writer.commit(batch.error_file_id)
            return
        listed = batch.temper.quirks.unfinished_lines == "listed"
        stopped = stage.status != "completed" and listed
        ending = Ending(
            batch_id=batch.id,
            done=_done(plan, stage),
            began=batch.course.validated,
            ended=_ended(batch, stage),
            unfinished=f"batch_{stage.status}" if stopped else None,
        )
        writing = ResultWriter(batch.temper, self._draws, plan, ending)
        writing.write(batch.input_file_id, self._blobs, batch.output_file_id, batch.error_file_id)


def _done(plan: Plan, stage: Stage) -> int:
    return min(plan.total, int(stage.progress * plan.total + 1e-9))


def _ended(batch: Batch, stage: Stage) -> float:
    times = (stage.completed_at, stage.failed_at, stage.cancelled_at)
    return next((time for time in times if time is not None), batch.course.deadline)
