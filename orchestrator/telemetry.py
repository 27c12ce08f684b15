"""Logs: every text in one table, fed by what the engine tells. One event a line.

On a terminal a line reads well; elsewhere it is one JSON object, with a `<N>` priority in front
where systemd's journal reads it. Keys: at, level, event, text, job, batch, provider, request_id,
worker, and the facts of the event. Never a prompt, an answer or a key.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from orchestrator.domain.errors import OrchestratorError
from orchestrator.engine.context import Told

Level = Literal["debug", "info", "warning", "error"]
Style = Literal["console", "json", "journal"]

_PRIORITY: Mapping[Level, int] = {"error": 3, "warning": 4, "info": 6, "debug": 7}
_LONGEST = 500
"""Characters of one value: what a provider says may be long."""


@dataclass(frozen=True, slots=True)
class Text:
    """One event's name in the log, its level and its words. `{…}` are fields of the told."""

    event: str
    level: Level
    words: str


TEXTS: Mapping[str, Text] = {
    # what the steps record: the names are those of the transitions
    "Planned": Text("batch_planned", "info", "planned with {requests} requests"),
    "Built": Text("batch_built", "debug", "input file built, {bytes} bytes"),
    "SpoolLost": Text("spool_lost", "warning", "the input file is gone from the spool; built anew"),
    "UploadBegan": Text("upload_began", "debug", "uploading {bytes} bytes"),
    "Uploaded": Text("uploaded", "info", "uploaded, {requests} requests in {bytes} bytes"),
    "UploadUnanswered": Text(
        "upload_unanswered", "warning", "the upload was not answered; looking for the file"
    ),
    "UploadNeverArrived": Text(
        "upload_never_arrived", "info", "the upload never arrived; it is sent again"
    ),
    "CallRefusedForNow": Text("refused_for_now", "warning", "refused for now: {reason}"),
    "CreateBegan": Text("create_began", "debug", "creating the remote batch"),
    "Created": Text("created", "info", "created as {remote_id}"),
    "Adopted": Text("adopted", "info", "found and adopted {remote_id}; nothing is created twice"),
    "Recovered": Text(
        "recovered", "warning", "the registry had forgotten {remote_id}; it is followed again"
    ),
    "late": Text(
        "late",
        "warning",
        "{remote_id} was given up, and has ended after all: its answers are taken",
    ),
    "CreateUnanswered": Text(
        "create_unanswered", "warning", "the create was not answered; looking for the batch"
    ),
    "LookedInVain": Text("looked_in_vain", "info", "not found at the provider yet"),
    "InputRevoked": Text(
        "input_revoked", "info", "the input file is deleted, so that no late create takes it"
    ),
    "Renewed": Text("renewed", "info", "no batch was made; starting over with a fresh upload"),
    "InputVanished": Text("input_vanished", "warning", "the input file is gone; uploaded anew"),
    "Observed": Text(
        "observed", "debug", "{remote_word}: {remote_completed} of {remote_total} done"
    ),
    "RemoteEnded": Text("remote_ended", "info", "ended at the provider as {remote_word}"),
    "CancelAsked": Text("cancel_asked", "info", "to be cancelled"),
    "CancelSent": Text("cancel_sent", "info", "cancellation sent"),
    "RemoteGone": Text("remote_gone", "warning", "the provider does not know the batch"),
    "Collected": Text("collected", "info", "result files collected"),
    "ResultsLost": Text("results_lost", "warning", "collected files are gone; fetched again"),
    "Reconciled": Text(
        "reconciled", "info", "{succeeded} succeeded, {failed} failed, {missing} without a line"
    ),
    "CleanedUp": Text("cleaned_up", "debug", "remote and local files deleted"),
    "Parked": Text("parked", "error", "needs you: {reason}"),
    "ReleasedToCollected": Text("released", "info", "released: its answers are matched again"),
    "ReleasedToCollecting": Text("released", "info", "released: its files are collected again"),
    "ReleasedToFollowing": Text("released", "info", "released: asked for once more"),
    "FoundAgain": Text("found_again", "info", "the provider knows it again: {remote_word}"),
    "ReleasedToLooking": Text("released", "info", "released: looked for again"),
    "Superseded": Text("superseded", "info", "given up; its requests wait again"),
    # what happens around them
    "Finished": Text("job_finished", "info", "finished: {succeeded} of {records} succeeded"),
    "Held": Text("job_held", "warning", "held: {reason}"),
    "CanaryJudged": Text("canary_judged", "info", "the canary has {word}: {measured}"),
    "Delivered": Text("delivered", "info", "the sink {sink} has every outcome"),
    "stage_fed": Text("stage_fed", "info", "the stage has its {rows} records"),
    "stage_held": Text("stage_held", "error", "stage {stage} needs you: {message}"),
    "put_off": Text("put_off", "warning", "put off: {message}"),
    "claim_lost": Text("claim_lost", "warning", "left to another worker: {message}"),
    "odd_lines": Text(
        "odd_lines",
        "warning",
        "odd result files: {unknown_ids} lines of nobody, {unreadable} unreadable, "
        "{conflicting} conflicting, {repeated} repeated, {missing} missing",
    ),
    "extra_remote_batch": Text(
        "extra_remote_batch", "error", "a second remote batch, {remote_id}, is cancelled"
    ),
    "orphan_removed": Text("orphan_removed", "info", "an old input file is removed: {file}"),
    "cloned": Text(
        "cloned", "error", "another copy of this registry has sent {remote_id}; nothing is sent"
    ),
    "poll_failed": Text("poll_failed", "warning", "not listed: {message}"),
    "gate": Text("gate", "warning", "gate {gate}: {message}"),
    # the service's own
    "started": Text("started", "info", "at work on {registry} as {worker_kind}, process {pid}"),
    "ticked": Text("ticked", "debug", "tick: {steps}"),
    "tick_failed": Text("tick_failed", "error", "tick failed, the next one comes: {message}"),
    "registry_lost": Text("registry_lost", "error", "{message}; trying again in {wait} s"),
    "registry_busy": Text(
        "registry_busy", "info", "a watch or tick has the registry; trying again in {wait} s"
    ),
    "wal_long": Text(
        "wal_long",
        "warning",
        "the registry's log has {megabytes} MB: a program that reads the file does not end",
    ),
    "lease_lost": Text("lease_lost", "warning", "the lease was lost; starting over with a new one"),
    "reloaded": Text("reloaded", "info", "the configuration was read again"),
    "reload_refused": Text("reload_refused", "error", "the old configuration stays: {message}"),
    "status": Text(
        "status", "info", "{jobs} jobs open, {batches} batches in flight, {parked} parked"
    ),
    "stopping": Text("stopping", "info", "stopping: short calls end, remote batches go on"),
    "stopped": Text("stopped", "info", "stopped"),
    "not_drained": Text("not_drained", "warning", "a step takes longer than {drain} s; leaving it"),
    "call": Text("call", "debug", "{operation}: {outcome} in {seconds} s, attempt {attempt}"),
}
"""Every event there is. One that is missing here is logged by its bare name."""

_UNKNOWN = Text("", "info", "")


class Log:
    """Writes one line an event. Safe from several threads; a broken stream never stops work.

    Without a stream it says nothing. `names` turns a job's id into its name. `verbose` lets debug
    events through.
    """

    def __init__(
        self,
        stream: TextIO | None,
        style: Style,
        *,
        now: Callable[[], datetime],
        verbose: bool = False,
    ) -> None:
        self._stream = stream
        self._style = style
        self._now = now
        self._verbose = verbose
        self._lock = threading.Lock()
        self.worker = ""
        self.names: Callable[[int], str] = str

    def told(self, told: Told) -> None:
        """Log what the engine tells."""
        text = TEXTS.get(told.kind, _UNKNOWN)
        if told.kind == "gate" and told.facts.get("gate") == "open":
            text = Text("gate", "info", "gate open again")
        self._write(text, told)

    def event(self, kind: str, **facts: object) -> None:
        """Log an event of the service's own."""
        self.told(Told(kind=kind, facts=facts))

    def failure(self, kind: str, error: BaseException, **facts: object) -> None:
        """Log an error; one that nobody expected by its kind and place, never by its data."""
        self.told(Told(kind=kind, error=_as_ours(error), facts=facts))

    def on_call(self, operation: str, outcome: int | str, seconds: float, attempt: int) -> None:
        """Log one call to a provider, as the client tells it."""
        facts = {"operation": operation, "outcome": outcome, "attempt": attempt}
        self.event("call", **facts, seconds=round(seconds, 3))

    def _write(self, text: Text, told: Told) -> None:
        stream = self._stream
        if stream is None or (text.level == "debug" and not self._verbose):
            return
        fields = self._fields(told)
        words = _say(text.words or told.kind, fields)
        event = text.event or told.kind
        line = (
            self._console(text.level, words, fields)
            if self._style == "console"
            else self._json(text.level, event, words, fields)
        )
        try:
            with self._lock:
                stream.write(line + "\n")
                stream.flush()
        except (OSError, ValueError):
            return  # the log's reader is gone; the work goes on

    def _fields(self, told: Told) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if told.job is not None:
            found |= {"job": told.job.name, "records": told.job.books.records}
            found["succeeded"] = told.job.books.succeeded
        if told.batch is not None:
            batch = told.batch
            found |= {"job": self.names(batch.job_id), "batch": batch.label}
            found |= {name: getattr(batch, name) for name in _OF_A_BATCH}
        if told.provider:
            found["provider"] = told.provider
        if told.error is not None:
            error = told.error
            found |= {"message": error.message, "code": error.code, "why": error.why}
            found |= {"where": error.where, "request_id": error.request_id}
        return {**found, **told.facts}

    def _console(self, level: Level, words: str, fields: Mapping[str, Any]) -> str:
        place = "/".join(str(fields[name]) for name in ("job", "batch") if fields.get(name))
        who = place or str(fields.get("provider") or "")
        why = _cut(fields.get("why") or "")
        code = f" [{fields['code']}]" if fields.get("code") else ""
        mark = "" if level in ("info", "debug") else f"{level}: "
        said = f"{words}: {why}" if why and why not in words else words
        at = f"{self._now().astimezone():%H:%M:%S}"
        return " ".join(part for part in (at, who, f"{mark}{said}{code}") if part)

    def _json(self, level: Level, event: str, words: str, fields: Mapping[str, Any]) -> str:
        at = self._now().astimezone(UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "at": at.replace("+00:00", "Z"),
            "level": level,
            "event": event,
            "text": words,
            "worker": self.worker,
            **{name: value for name, value in fields.items() if name != "message"},
        }
        kept = {name: _plain(value) for name, value in line.items() if value not in (None, "")}
        text = json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
        return f"<{_PRIORITY[level]}>{text}" if self._style == "journal" else text


_OF_A_BATCH = (
    "provider",
    "requests",
    "bytes",
    "remote_id",
    "remote_word",
    "remote_total",
    "remote_completed",
    "remote_failed",
    "succeeded",
    "failed",
    "missing",
    "reason",
    "code",
)


class _Missing(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def _say(words: str, fields: Mapping[str, Any]) -> str:
    readable = {name: _readable(value) for name, value in fields.items()}
    return words.format_map(_Missing(readable))


def _readable(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "?" if value is None else _cut(value)


def _cut(value: object) -> str:
    text = str(value)[: _LONGEST + 1]
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "…"


def _plain(value: object) -> object:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    return _cut(value)


def _as_ours(error: BaseException) -> OrchestratorError:
    if isinstance(error, OrchestratorError):
        return error
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = ""
    if trace is not None:
        place = f"{os.path.basename(trace.tb_frame.f_code.co_filename)} line {trace.tb_lineno}"  # noqa: PTH119 - a file name in a traceback, no path that is used
    return OrchestratorError(f"a bug of ours: {type(error).__name__}", where=place)


def style_of(stream: TextIO, environ: Mapping[str, str]) -> Style:
    """Return how lines are written there: for people, for programs, for systemd's journal."""
    try:
        if stream.isatty():
            return "console"
    except ValueError:
        return "json"
    if _is_journal(stream, environ):
        return "journal"
    return "json"


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether systemd reads the stream: JOURNAL_STREAM names its device and inode.

    Children inherit the variable, also those whose stderr goes to a file.
    """
    named = environ.get("JOURNAL_STREAM", "")
    if not named:
        return bool(environ.get("INVOCATION_ID"))
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{found.st_dev}:{found.st_ino}"
