"""What the provider holds for one account: files and batches, changed by events alone."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from orchestrator.sandbox.draws import Draws
from orchestrator.sandbox.events import (
    Asked,
    CancelAsked,
    Created,
    Deleted,
    Event,
    Started,
    Tempered,
    Uploaded,
)
from orchestrator.sandbox.refusals import Refusal, invalid, unknown
from orchestrator.sandbox.rules import check_upload, free_name, window_seconds
from orchestrator.sandbox.stages import Course, draw_course
from orchestrator.sandbox.temper import Temper


@dataclass(slots=True)
class File:
    """A file; times are Unix seconds, sizes bytes. `batch_id` is set on output and error files."""

    id: str
    name: str
    size: int
    purpose: str
    created: float
    deleted: float | None = None
    batch_id: str | None = None


@dataclass(slots=True)
class Batch:
    """A batch and the course drawn for it; it lives under the temper of its creation."""

    id: str
    input_file_id: str
    endpoint: str
    window: str
    metadata: dict[str, str] | None
    created: float
    course: Course
    temper: Temper
    output_file_id: str
    error_file_id: str
    cancelled: float | None = None
    asked: float | None = None


class Account:
    """The files and batches of one account. `apply` is the only way in."""

    def __init__(self, draws: Draws, temper: Temper) -> None:
        self._draws = draws
        self.temper = temper
        self.files: dict[str, File] = {}
        self.batches: dict[str, Batch] = {}
        self.results: dict[str, Batch] = {}
        self.deleted_results: set[str] = set()

    def apply(self, event: Event) -> None:
        """Let `event` happen. Raises Refusal, with nothing changed, if it may not."""
        match event:
            case Uploaded():
                self._upload(event)
            case Deleted():
                self._delete(event)
            case Created():
                self._create(event)
            case CancelAsked():
                batch = self.batch(event.id)
                batch.cancelled = event.at if batch.cancelled is None else batch.cancelled
            case Asked():
                self.batch(event.id).asked = event.at
            case Started() | Tempered():
                self.temper = msgspec.convert(event.temper, Temper)
            case _:
                pass

    def file(self, file_id: str) -> File:
        """Return an uploaded file that is not deleted. Raises Refusal (404)."""
        file = self.files.get(file_id)
        if file is None or file.deleted is not None:
            raise unknown("file", file_id)
        return file

    def batch(self, batch_id: str) -> Batch:
        """Return a batch. Raises Refusal (404)."""
        try:
            return self.batches[batch_id]
        except KeyError:
            raise unknown("batch", batch_id) from None

    def living_files(self) -> list[File]:
        """Return the uploaded files that are not deleted, oldest first."""
        return [file for file in self.files.values() if file.deleted is None]

    def is_used(self, file_id: str) -> bool:
        """Say whether a batch was made from the file, so that its bytes are still needed."""
        return any(batch.input_file_id == file_id for batch in self.batches.values())

    def check_quotas(self, size: int, purpose: str, results: list[File]) -> None:
        """Check that one more file fits beside the uploads and `results`. Raises Refusal."""
        limits = self.temper.limits
        held = self.living_files() + results
        batch_files = sum(file.purpose == "batch" for file in held)
        if len(held) >= limits.max_files or (
            purpose == "batch" and batch_files >= limits.max_batch_files
        ):
            raise invalid("Too many uploaded files, please delete some and try again")
        if sum(file.size for file in held) + size > limits.max_storage_bytes:
            raise invalid(
                "Total size of uploaded files exceeds the limit, please delete some files"
            )

    def _upload(self, event: Uploaded) -> None:
        check_upload(event.name, event.size, event.purpose, self.temper.limits)
        self.check_quotas(event.size, event.purpose, [])
        name = free_name(event.name, {file.name for file in self.living_files()})
        self.files[event.id] = File(event.id, name, event.size, event.purpose, event.at)

    def _delete(self, event: Deleted) -> None:
        if event.id in self.results and event.id not in self.deleted_results:
            self.deleted_results.add(event.id)
        else:
            self.file(event.id).deleted = event.at

    def _create(self, event: Created) -> None:
        self._check_input(event.input_file_id)
        window = window_seconds(event.window, self.temper.limits)
        draws, chars = self._draws, self.temper.quirks.id_length
        batch = Batch(
            id=event.id,
            input_file_id=event.input_file_id,
            endpoint=event.endpoint,
            window=event.window,
            metadata=event.metadata,
            created=event.at,
            course=draw_course(event.id, event.at, window, self.temper.batches, draws),
            temper=self.temper,
            output_file_id=draws.name("file_", chars, "output", event.id),
            error_file_id=draws.name("file_", chars, "error", event.id),
        )
        self.batches[batch.id] = batch
        self.results[batch.output_file_id] = self.results[batch.error_file_id] = batch

    def _check_input(self, file_id: str) -> None:
        quirks = self.temper.quirks
        file = self.files.get(file_id)
        gone = file is None or (file.deleted is not None and not quirks.create_over_deleted)
        if file is None or gone:
            kind = "resource_not_found_error" if quirks.missing_input_status == 404 else ""
            raise Refusal(
                quirks.missing_input_status,
                kind or "invalid_request_error",
                f"input_file_id {file_id} not found",
            )
        if file.purpose != "batch":
            raise invalid(f"input file {file_id} has purpose {file.purpose}, it must be batch")
