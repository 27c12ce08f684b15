"""Every error a user can meet.

    OrchestratorError
    ├── UsageError            2    the command line makes no sense
    ├── ConfigError          78    a setting is wrong
    ├── SourceError          65    a record, a source file or a batch line is wrong
    ├── TemplateError        65    a prompt or template is wrong
    ├── ProviderError        69    the remote API
    │   ├── AuthError        77    the key is refused, missing or not allowed
    │   ├── QuotaError       75    balance, files, storage or queue used up: wait, nothing failed
    │   ├── ThrottledError   75    too fast: wait as told
    │   ├── UnavailableError 69    nothing was done over there; the same call may be made again
    │   ├── UnansweredError  69    something may have been done over there; look before trying again
    │   ├── RejectedError    65    a real no, in the provider's own words; it will not change
    │   └── GoneError        66    the remote file or batch is not there (404)
    ├── RegistryError        69    the database
    │   ├── RegistryAway     75    it does not answer now, a one-shot has waited in vain
    │   └── ClaimLost        75    another worker has moved or taken over the row
    ├── IntegrityError        6    the books do not add up
    ├── SinkError            73    an export or sink
    ├── GuardError            7    refused to protect the user
    │   ├── BudgetExceeded
    │   ├── PlanChanged
    │   └── NameTaken
    ├── NotFound             66    no such job, batch, record, file
    ├── WaitTimeout           4    not finished in the time given
    ├── RecordsFailed         3    the job has ended, and some records have no answer
    ├── AlreadyRunning        8    another daemon holds this SQLite registry
    └── IllegalTransition     1    a bug of ours

The type tells who must act: the user (usage, config, source, template, auth, guard), time
(quota, throttled, unavailable), nobody (rejected), another worker already did (claim lost), us
(illegal transition). Each error has an `ORCnnnn` code with a help page in `codes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar


class OrchestratorError(Exception):
    """What happened, to which object, whether data and money are safe, and what to do next.

    `message` is the headline: lower case, no full stop. `where`, `why`, `safe` and `next` are the
    labelled lines below it; an empty one is left out. `details` holds further lines of the same
    kind (one violation each). Never put a key, a whole prompt or a whole answer into any of them.
    """

    default_code: ClassVar[str] = "ORC9001"
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        where: str = "",
        why: str = "",
        safe: str = "",
        next: str = "",  # noqa: A002 - the word users read on the line
        request_id: str = "",
        details: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.where = where
        self.why = why
        self.safe = safe
        self.next = next
        self.request_id = request_id
        self.details = tuple(details)

    def to_dict(self) -> Mapping[str, object]:
        """Return the error as the JSON object of the CLI's last line on stderr."""
        return {
            "type": "error",
            "code": self.code,
            "exit_code": self.exit_code,
            "message": self.message,
            "where": self.where,
            "why": self.why,
            "safe": self.safe,
            "next": self.next,
            "request_id": self.request_id,
            "details": list(self.details),
        }


class UsageError(OrchestratorError):
    """The command line makes no sense."""

    default_code = "ORC1001"
    exit_code = 2


class ConfigError(OrchestratorError):
    """A setting is unknown, malformed or missing."""

    default_code = "ORC1101"
    exit_code = 78


class SourceError(OrchestratorError):
    """A record, a source file or a ready batch line is wrong; nothing was registered."""

    default_code = "ORC2001"
    exit_code = 65


class TemplateError(OrchestratorError):
    """A prompt or template can't be compiled or rendered."""

    default_code = "ORC2101"
    exit_code = 65


class ProviderError(OrchestratorError):
    """The remote Batch API said no, or nothing.

    `retry_after` is in seconds, where the provider gave one.
    """

    default_code = "ORC3001"
    exit_code = 69

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        where: str = "",
        why: str = "",
        safe: str = "",
        next: str = "",  # noqa: A002 - the word users read on the line
        request_id: str = "",
        details: Sequence[str] = (),
        status: int | None = None,
        provider_code: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            message,
            code=code,
            where=where,
            why=why,
            safe=safe,
            next=next,
            request_id=request_id,
            details=details,
        )
        self.status = status
        self.provider_code = provider_code
        self.retry_after = retry_after


class AuthError(ProviderError):
    """The key is missing, refused, of another account, or not allowed to do this."""

    default_code = "ORC3101"
    exit_code = 77


class QuotaError(ProviderError):
    """Balance, files, storage or queue are used up: wait or top up; nothing has failed."""

    default_code = "ORC3104"
    exit_code = 75
    retryable = True


class ThrottledError(ProviderError):
    """Too many calls or tokens a minute; wait as `retry_after` says."""

    default_code = "ORC3105"
    exit_code = 75
    retryable = True


class UnavailableError(ProviderError):
    """No usable answer, and for certain no effect: the same call may be made again."""

    default_code = "ORC3201"
    exit_code = 69
    retryable = True


class UnansweredError(ProviderError):
    """The call may or may not have had its effect: look before trying again."""

    default_code = "ORC3202"
    exit_code = 69
    retryable = True


class RejectedError(ProviderError):
    """A real no in the provider's own words; sending the same again will not change it."""

    default_code = "ORC3207"
    exit_code = 65


class GoneError(ProviderError):
    """The remote file or batch is not there (404)."""

    default_code = "ORC3208"
    exit_code = 66


class RegistryError(OrchestratorError):
    """The database can't be reached, is damaged, or has another schema."""

    default_code = "ORC4001"
    exit_code = 69


class RegistryAway(RegistryError):
    """The database does not answer now: the same command may work later."""

    exit_code = 75
    retryable = True


class ClaimLost(RegistryError):
    """Another worker has moved the row or taken it over; drop what you hold."""

    default_code = "ORC4003"
    exit_code = 75
    retryable = True


class IntegrityError(OrchestratorError):
    """The books do not add up, or a file is not what the registry says."""

    default_code = "ORC5001"
    exit_code = 6


class SpoolError(OrchestratorError):
    """A spool file can't be written: disk full, no permission."""

    default_code = "ORC5101"
    exit_code = 74
    retryable = True


class SinkError(OrchestratorError):
    """An export or sink can't be written."""

    default_code = "ORC6001"
    exit_code = 73


class GuardError(OrchestratorError):
    """Refused to protect the user."""

    default_code = "ORC7001"
    exit_code = 7


class BudgetExceeded(GuardError):
    """The budget would be exceeded."""

    default_code = "ORC7002"


class PlanChanged(GuardError):
    """The source or template is not what the plan was made from."""

    default_code = "ORC7003"


class NameTaken(GuardError):
    """A job of this name with other content exists."""

    default_code = "ORC7004"


class NotFound(OrchestratorError):
    """There is no such file, job, batch or record."""

    default_code = "ORC1201"
    exit_code = 66


class WaitTimeout(OrchestratorError):
    """Not finished in the time given; the job lives on."""

    default_code = "ORC1301"
    exit_code = 4


class RecordsFailed(OrchestratorError):
    """The job has ended, or waits for a person, and some records have no answer."""

    default_code = "ORC1150"
    exit_code = 3


class AlreadyRunning(OrchestratorError):
    """Another daemon holds this SQLite registry."""

    default_code = "ORC4008"
    exit_code = 8


class IllegalTransition(OrchestratorError):
    """A state was asked to make a move that its table does not have: a bug of ours."""

    default_code = "ORC9002"
