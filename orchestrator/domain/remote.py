"""What the provider shows us: remote files, remote batches, answers. Nouns of every floor."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec


class RemoteStatus(enum.StrEnum):
    """Our reading of the provider's status word; the word itself is kept beside it."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """A word we do not know (`scheduling` was seen): counts as live."""

    @property
    def terminal(self) -> bool:
        """Whether the provider will not move the batch any more."""
        return self in _TERMINAL


_TERMINAL = frozenset(
    {RemoteStatus.COMPLETED, RemoteStatus.FAILED, RemoteStatus.EXPIRED, RemoteStatus.CANCELLED}
)


@dataclass(frozen=True, slots=True)
class Counts:
    """`request_counts` of a batch: lines."""

    total: int
    completed: int
    failed: int


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at the provider. `size` is in bytes, `created_at` in Unix seconds."""

    id: str
    name: str
    size: int | None
    purpose: str
    created_at: float | None
    status: str = ""
    raw: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RemoteBatch:
    """A batch object as the provider shows it.

    Times are Unix seconds. Empty-string ids are None. `raw` is the JSON text as received, so that
    fields we do not know are kept too.
    """

    id: str
    status: RemoteStatus
    word: str
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    counts: Counts | None = None
    created_at: float | None = None
    expires_at: float | None = None
    ended_at: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    raw: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A downloaded file, complete and durable on disk. `size` is in bytes."""

    sha256: str
    size: int


class Answer(msgspec.Struct, frozen=True, gc=False):
    """One line of an output or error file, read but not yet matched.

    `body` is the exact JSON text of the response body, None if the line has none. A line counts
    as a success when `status_code` is 2xx and it carries no error. Tokens are None when the line
    has no usage.
    """

    custom_id: str
    succeeded: bool
    status_code: int | None = None
    body: bytes | None = None
    error_code: str = ""
    error_message: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    finish_reason: str = ""
    request_id: str = ""
    created_at: int | None = None


class OddLine(msgspec.Struct, frozen=True, gc=False):
    """A line that is not a usable answer, and why: it goes to quarantine."""

    reason: str
