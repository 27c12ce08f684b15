"""The wire: every JSON key and status code of the Batch API, no network.

Batches, files, lists and the two helpers of `doctor` are read here; lines, faults and errors have
modules of their own and are offered here too. Sources: platform.kimi.ai/docs/api/batch-create,
batch-retrieve, batch-list, batch-cancel, files-upload, files-list, files-retrieve, files-delete,
errors (copies of 2026-08-13); github.com/openai/openai-openapi for the shape they imitate.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Raw

from orchestrator.domain.remote import Counts, RemoteBatch, RemoteFile, RemoteStatus
from orchestrator.provider.wire_errors import sort_error
from orchestrator.provider.wire_faults import LineFault, read_fault, read_validation_errors
from orchestrator.provider.wire_lines import chat_text, read_line
from orchestrator.provider.wire_values import (
    OddAnswer,
    count,
    identifier,
    mend,
    moment,
    read_json,
    read_object,
    words,
)

__all__ = [
    "LineFault",
    "OddAnswer",
    "Page",
    "chat_text",
    "read_balance",
    "read_batch",
    "read_batch_page",
    "read_deletion",
    "read_file",
    "read_file_page",
    "read_line",
    "read_models",
    "read_page",
    "read_validation_errors",
    "sort_error",
]

_MAX_ERRORS = 100

# Together shouts, Novita's guide says PROGRESS, some servers spell with one l.
_WORDS: Mapping[str, RemoteStatus] = {
    **{status.value: status for status in RemoteStatus},
    "canceled": RemoteStatus.CANCELLED,
    "canceling": RemoteStatus.CANCELLING,
    "progress": RemoteStatus.IN_PROGRESS,
}

T = TypeVar("T")


class Page(NamedTuple, Generic[T]):
    """One page of a list. `more` is None where the server does not say.

    `odd` counts elements without an id; they are left out.
    """

    items: list[T]
    more: bool | None
    odd: int = 0


def read_batch(raw: bytes, status_words: Mapping[str, str] | None = None) -> RemoteBatch:
    """Read a batch object, tolerant in everything but its id. Raises OddAnswer.

    `status_words` are the profile's own readings of status words; a word that nobody knows counts
    as live. Counts are None while the server has none (null until validation ends is common).
    """
    value = read_object(raw)
    if not identifier(value.get("id")) and isinstance(value.get("job"), dict):
        # Together wraps the answer to a create, and only that one.
        value = value["job"]
    batch_id = identifier(value.get("id"))
    if batch_id is None:
        raise OddAnswer("the batch in the answer has no id")
    _refuse_error(value)
    word = words(value.get("status"), 64)
    status = _status(word, status_words or {})
    return RemoteBatch(
        id=batch_id,
        status=status,
        word=word,
        input_file_id=identifier(value.get("input_file_id")),
        output_file_id=identifier(value.get("output_file_id")),
        error_file_id=identifier(value.get("error_file_id")),
        counts=_counts(value),
        created_at=moment(value.get("created_at")),
        expires_at=moment(value.get("expires_at")),
        ended_at=_ended_at(value, status),
        metadata=_metadata(value.get("metadata")),
        errors=_errors(value),
        raw=_as_received(raw),
    )


def _refuse_error(value: Mapping[str, Any]) -> None:
    """Refuse an error that has an id of its own: taken for a batch's, the batch would be lost."""
    said = read_fault(value.get("error"))
    if said and ("status" not in value or value.get("object") == "error"):
        raise OddAnswer(f"the answer is an error with an id: {said.quote}")


def _status(word: str, own: Mapping[str, str]) -> RemoteStatus:
    key = word.strip().lower().replace("-", "_").replace(" ", "_")
    for known, meaning in own.items():
        if known.lower() == key:
            return _WORDS.get(meaning, RemoteStatus.UNKNOWN)
    return _WORDS.get(key, RemoteStatus.UNKNOWN)


def _counts(value: Mapping[str, Any]) -> Counts | None:
    # Flat members instead of `request_counts` were seen at Novita.
    place = value.get("request_counts")
    place = place if isinstance(place, dict) else value
    total = count(place.get("total"))
    completed, failed = count(place.get("completed")), count(place.get("failed"))
    if total is None or (completed is None and failed is None):
        return None
    return Counts(total=total, completed=completed or 0, failed=failed or 0)


def _ended_at(value: Mapping[str, Any], status: RemoteStatus) -> float | None:
    if not status.terminal:
        return None
    own = moment(value.get(f"{status.value}_at"))
    if own is not None:
        return own
    # Kimi has no `expired_at`; the latest known stage is then the best there is.
    names = ("completed_at", "failed_at", "expired_at", "cancelled_at", "finalizing_at")
    known = [at for name in names if (at := moment(value.get(name))) is not None]
    return max(known, default=None)


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {
        words(name, 512): words(text, 4096)
        for name, text in list(value.items())[:64]
        if text is not None
    }


def _errors(value: Mapping[str, Any]) -> tuple[str, ...]:
    found = value.get("errors") or value.get("error")
    if isinstance(found, dict) and isinstance(found.get("data"), list):
        found = found["data"]
    entries = found if isinstance(found, list) else [found]
    faults = [fault for entry in entries[:_MAX_ERRORS] if (fault := read_fault(entry))]
    return tuple(
        f"line {fault.line}: {fault.quote}" if fault.line is not None else fault.quote
        for fault in faults
    )


def _as_received(raw: bytes) -> str:
    # Escaped NULs stay escapes; a real one can't stand in JSON.
    return raw.decode("utf-8", "replace").lstrip("\ufeff").strip()


def read_file(raw: bytes) -> RemoteFile:
    """Read a file object, tolerant in everything but its id. Raises OddAnswer."""
    value = read_object(raw)
    file_id = identifier(value.get("id"))
    if file_id is None:
        raise OddAnswer("the file in the answer has no id")
    _refuse_error(value)
    return RemoteFile(
        id=file_id,
        name=words(value.get("filename"), 1024),
        size=count(value.get("bytes")),
        purpose=words(value.get("purpose"), 64),
        created_at=moment(value.get("created_at")),
        status=words(value.get("status"), 64).lower(),
        raw=_as_received(raw),
    )


def read_page(raw: bytes, read: Callable[[bytes], T]) -> Page[T]:
    """Read a list envelope, or a bare array, whose elements `read` understands.

    Raises OddAnswer if there is no list in it; an element that `read` refuses is counted and left
    out, so that one odd batch does not hide the others.
    """
    elements, more = _elements(_strict(raw))
    items: list[T] = []
    for element in elements:
        try:
            items.append(read(bytes(element)))
        except OddAnswer:
            continue
    return Page(items, more, len(elements) - len(items))


def _elements(raw: bytes) -> tuple[list[Raw], bool | None]:
    try:
        if raw.lstrip()[:1] == b"[":
            return msgspec.json.decode(raw, type=list[Raw]), None
        members = msgspec.json.decode(raw, type=dict[str, Raw])
        # A null list is how some servers say that it is empty.
        found = msgspec.json.decode(members["data"], type=list[Raw] | None)
        said = read_fault(read_json(bytes(members.get("error", Raw(b"null")))))
    except (KeyError, ValueError, RecursionError):
        raise OddAnswer("the answer is JSON, but no list with data") from None
    if said:
        # What is missing from such a list proves nothing.
        raise OddAnswer(f"the list in the answer comes with an error: {said.quote}")
    return found or [], _more(bytes(members.get("has_more", Raw(b"null"))))


def _strict(raw: bytes) -> bytes:
    try:
        msgspec.json.decode(raw, type=Raw)
        raw.decode()
    except (ValueError, RecursionError):
        mended = mend(raw)
        if mended is None:
            read_object(raw)
            raise OddAnswer("the list in the answer is not usable JSON") from None
        return mended
    return raw


def _more(raw: bytes) -> bool | None:
    return {b"true": True, b"false": False, b"1": True, b"0": False}.get(raw.strip(b' "').lower())


def read_batch_page(raw: bytes, status_words: Mapping[str, str] | None = None) -> Page[RemoteBatch]:
    """Read a page of `GET /batches`. Raises OddAnswer."""
    return read_page(raw, lambda element: read_batch(element, status_words))


def read_file_page(raw: bytes) -> Page[RemoteFile]:
    """Read a page of `GET /files`. Raises OddAnswer."""
    return read_page(raw, read_file)


def read_deletion(raw: bytes) -> bool:
    """Tell from the answer to a DELETE whether the file is gone. Raises OddAnswer.

    Only the provider's own yes counts: a page or an error of a gateway with status 200 proves
    nothing, and a deletion that is believed too early is how a batch is paid for twice.
    """
    value = read_object(raw)
    if said := read_fault(value.get("error")):
        raise OddAnswer(f"the answer to the deletion is an error: {said.quote}")
    word = value.get("deleted", True if identifier(value.get("id")) else None)
    known = {"true": True, "1": True, "false": False, "0": False}.get(str(word).lower())
    if known is None:
        raise OddAnswer("the answer does not say whether the file is deleted")
    return known


def read_models(raw: bytes) -> list[str]:
    """Read the ids of `GET /models`. Raises OddAnswer."""

    def model_id(element: bytes) -> str:
        found = identifier(read_object(element).get("id"))
        if found is None:
            raise OddAnswer("the model has no id")
        return found

    return read_page(raw, model_id).items


def read_balance(raw: bytes) -> str | None:
    """Read Kimi's `GET /users/me/balance`: the available amount as text, None if it is not there.

    Raises OddAnswer. The currency is the platform's: USD on .ai, CNY on .cn.
    """
    data = read_object(raw).get("data")
    amount = data.get("available_balance") if isinstance(data, dict) else None
    if isinstance(amount, bool) or not isinstance(amount, int | float | str):
        return None
    return words(amount if isinstance(amount, str) else json.dumps(amount), 40) or None
