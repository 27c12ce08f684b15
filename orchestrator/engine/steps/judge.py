"""Judge members of a batch by their answers, and gather what one transaction records of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from orchestrator.domain.answers import Checker
from orchestrator.domain.charging import Used
from orchestrator.domain.model import Batch, ChargeKind, Job, JobState, RequestState
from orchestrator.domain.remote import Answer, RemoteStatus
from orchestrator.domain.repairs import note, words_of
from orchestrator.domain.retry import BURNS_NOTHING, Cause, cause_of, cause_of_silence, verdict
from orchestrator.domain.rules import CHAT
from orchestrator.engine.context import Context
from orchestrator.provider.answer_text import answer_text
from orchestrator.registry.answers import FailureRow, ResponseRow
from orchestrator.registry.requests import Member

UNFIT = "unfit_answer"
"""The code of an answer that does not fit the job's schema."""

_BODY_CAP = 1 << 20
_LAST_LINE = 2**31 - 1
"""The highest number of a line that the registry holds: a provider may say any."""

_SILENT_WORDS = {
    Cause.EXPIRED: "the batch expired before this request was answered",
    Cause.CANCELLED: "the batch was cancelled before this request was answered",
    Cause.MISSING: "the batch ended without a line for this request",
}


@dataclass(slots=True)
class Chunk:
    """Judged members: rows to insert, requests to close, what to count.

    `notes`: the messages that ask again for an answer that did not fit, and `sizes` the bytes of
    the lines with them.
    """

    size: int = 0
    responses: list[ResponseRow] = field(default_factory=list)
    failures: list[FailureRow] = field(default_factory=list)
    closed: dict[int, RequestState] = field(default_factory=dict)
    burned: list[int] = field(default_factory=list)
    answered: Used = field(default_factory=Used)
    wasted: dict[ChargeKind, Used] = field(default_factory=dict)
    notes: dict[int, bytes] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)


class Judge:
    """Knows the batch, the job's policy and how the remote batch ended."""

    def __init__(self, ctx: Context, batch: Batch, job: Job) -> None:
        self._batch = batch
        self._job_id = job.id
        spec = ctx.spec_of(job)
        self._policy = spec.policy
        self._checker = Checker(spec.answer) if spec.answer else None
        self._repair = spec.answer is not None and spec.answer.repair and spec.endpoint == CHAT
        self._withdrawn = job.state is JobState.CANCELLING or batch.cancel_asked_at is not None
        self._status = RemoteStatus(batch.remote_status or RemoteStatus.UNKNOWN)
        self._now = ctx.now()
        created = batch.remote_created_at
        ended = batch.remote_ended_at or batch.changed_at
        self._created = created.timestamp() if created else None
        self._ended = ended.timestamp() if ended else None

    def answer(self, chunk: Chunk, member: Member, answer: Answer, source: str, line: int) -> None:
        """Judge a member that has a line."""
        if not answer.succeeded:
            self._failed(chunk, member, cause_of(answer), answer, source, line)
            return
        if self._checker is not None and self._misfit(chunk, member, answer, source, line):
            return
        chunk.size += 1
        chunk.closed[member.id] = RequestState.SUCCEEDED
        chunk.answered.add(
            answer.tokens_in,
            answer.tokens_out,
            answer.tokens_cached,
            member.est_in,
            member.est_out,
        )
        # By position, in the order of the fields: this line runs once for every record.
        chunk.responses.append(
            ResponseRow(
                member.id,
                self._batch.id,
                source,
                line,
                answer.status_code,
                (answer.body or b"").decode("utf-8", "replace"),
                answer.tokens_in,
                answer.tokens_out,
                answer.tokens_cached,
                _storable(answer.finish_reason)[:40],
                _storable(answer.request_id),
                self._latency(answer),
                self._now,
            )
        )

    def _misfit(self, chunk: Chunk, member: Member, answer: Answer, source: str, line: int) -> bool:
        """Judge an answer that does not fit the job's schema; False if it fits."""
        text = answer_text((answer.body or b"").decode("utf-8", "replace"))
        problem = self._checker.check(text).problem if self._checker else ""
        if not problem:
            return False
        words = words_of(problem, cut_off=answer.finish_reason == "length")
        told = msgspec.structs.replace(answer, error_code=UNFIT, error_message=words)
        if self._failed(chunk, member, Cause.INVALID, told, source, line) is RequestState.PENDING:
            chunk.notes[member.id] = note(text, words)
        return True

    def silence(self, chunk: Chunk, member: Member) -> None:
        """Judge a member that has no line."""
        cause = cause_of_silence(self._status)
        nothing = Answer(custom_id="", succeeded=False, error_message=_SILENT_WORDS[cause])
        self._failed(chunk, member, cause, nothing, "none", 0)

    def refused(self, chunk: Chunk, member: Member, code: str, words: str, line: int) -> None:
        """Judge a member whose line the validation of its batch refused."""
        no = Answer(custom_id="", succeeded=False, error_code=code, error_message=words)
        # A refused line without a word for it is as wrong the next time, and spoils a whole batch.
        cause = cause_of(no) if code else Cause.REFUSED
        self._failed(chunk, member, cause, no, "error", min(line, _LAST_LINE))

    def spare(self, chunk: Chunk) -> None:
        """Pass over a member that nothing is said of: it waits for another batch."""
        chunk.size += 1

    def _failed(
        self,
        chunk: Chunk,
        member: Member,
        cause: Cause,
        answer: Answer,
        source: str,
        line: int,
    ) -> RequestState:
        burns = cause not in BURNS_NOTHING
        word = verdict(
            cause,
            refusals=member.refusals + burns,
            rounds=member.rounds,
            policy=self._policy,
            withdrawn=self._withdrawn,
            repair=self._repair,
        )
        final = word is not RequestState.PENDING
        chunk.size += 1
        if final:
            chunk.closed[member.id] = word
        if burns:
            chunk.burned.append(member.id)
        _waste(chunk, member, cause, answer)
        body = answer.body.decode("utf-8", "replace")[:_BODY_CAP] if answer.body else None
        chunk.failures.append(
            FailureRow(
                request_id=member.id,
                job_id=self._job_id,
                batch_id=self._batch.id,
                cause=cause.value,
                final=final,
                source=source,
                line=line,
                status_code=answer.status_code,
                code=_storable(answer.error_code),
                message=_storable(answer.error_message),
                body=_storable(body) if body else None,
                tokens_in=answer.tokens_in,
                tokens_out=answer.tokens_out,
                provider_request_id=_storable(answer.request_id),
                latency=self._latency(answer),
                recorded_at=self._now,
            )
        )
        return word

    def _latency(self, answer: Answer) -> float | None:
        """Return seconds from the batch's creation to the answer, or to the batch's end."""
        answered = answer.created_at or self._ended
        if answered is None or self._created is None:
            return None
        return max(0.0, answered - self._created)


_KINDS = {
    Cause.INVALID: ChargeKind.INVALID,
    Cause.EXPIRED: ChargeKind.LOST,
    Cause.CANCELLED: ChargeKind.LOST,
    Cause.MISSING: ChargeKind.LOST,
}


def _waste(chunk: Chunk, member: Member, cause: Cause, answer: Answer) -> None:
    """Count what a failed attempt has used, where its line tells."""
    if answer.tokens_in is None and answer.tokens_out is None:
        return
    used = chunk.wasted.setdefault(_KINDS.get(cause, ChargeKind.REFUSED), Used())
    used.add(
        answer.tokens_in, answer.tokens_out, answer.tokens_cached, member.est_in, member.est_out
    )


def _storable(text: str) -> str:
    """Return `text` as every database takes it: PostgreSQL refuses NUL, UTF-8 lone surrogates."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
