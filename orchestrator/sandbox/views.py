"""The JSON objects that the provider shows: files and batches, member by member."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.sandbox.account import Batch, File
from orchestrator.sandbox.stages import Stage
from orchestrator.sandbox.temper import Quirks

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Standing:
    """All that is known of a batch at one moment; counts are lines, None while nobody read them."""

    stage: Stage
    total: int | None = None
    completed: int = 0
    failed: int = 0
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: tuple[Json, ...] = ()


def file_object(file: File) -> Json:
    """Return a file as the API shows it without a version header."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "ready",
        "status_details": "",
    }


def batch_object(batch: Batch, standing: Standing, quirks: Quirks, *, listed: bool) -> Json:
    """Return a batch as the API shows it: no `errors` (but for a quirk), no `expired_at`."""
    stage = standing.stage
    shown: Json = {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "input_file_id": batch.input_file_id,
        "completion_window": batch.window,
        "status": quirks.status_words.get(stage.status, stage.status),
        "output_file_id": _id(standing.output_file_id, quirks),
        "error_file_id": _id(standing.error_file_id, quirks),
        "created_at": int(batch.created),
        "in_progress_at": _time(stage.in_progress_at),
        "expires_at": int(batch.course.deadline),
        "finalizing_at": _time(stage.finalizing_at),
        "completed_at": _time(stage.completed_at),
        "failed_at": _time(stage.failed_at),
        "cancelling_at": _time(stage.cancelling_at),
        "cancelled_at": _time(stage.cancelled_at),
        "request_counts": _counts(standing, quirks),
        "metadata": batch.metadata if quirks.metadata_in_list or not listed else None,
    }
    if standing.errors:
        shown["errors"] = {"object": "list", "data": list(standing.errors)}
    return shown


def _counts(standing: Standing, quirks: Quirks) -> Json | None:
    if standing.total is None and quirks.null_counts:
        return None
    return {
        "total": standing.total or 0,
        "completed": standing.completed,
        "failed": standing.failed,
    }


def _id(file_id: str | None, quirks: Quirks) -> str | None:
    return "" if file_id is None and quirks.empty_ids else file_id


def _time(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
