"""Group requests into batch input files. Greedy and in order, which is also the fewest files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestrator.domain.errors import SourceError
from orchestrator.domain.profile import Profile

MAX_REQUESTS = 50_000
"""Lines a file gets where the provider states no limit: OpenAI's, which most others imitate."""


class SizedRequest(NamedTuple):
    """A request and the length of its batch line in bytes, line break included.

    `est_in`, `est_out`: its estimated tokens, as in `intake.Request`.
    """

    id: int
    size: int
    est_in: int = 0
    est_out: int | None = None


class Load(NamedTuple):
    """What several requests come to. `est_out` is None where one of them sets no bound."""

    requests: int
    bytes: int
    est_in: int
    est_out: int | None


def load_of(members: Sequence[SizedRequest]) -> Load:
    """Add requests up."""
    bounds = [member.est_out for member in members]
    return Load(
        requests=len(members),
        bytes=sum(member.size for member in members),
        est_in=sum(member.est_in for member in members),
        est_out=None if None in bounds else sum(bound or 0 for bound in bounds),
    )


@dataclass(frozen=True, slots=True)
class FileLimits:
    """What one file may hold: bytes, line breaks included, and requests."""

    max_bytes: int
    max_requests: int

    @staticmethod
    def of(profile: Profile, cap: int = MAX_REQUESTS) -> FileLimits:
        """Return the limits of `profile`, with at most `cap` requests a file."""
        return FileLimits(
            max_bytes=profile.limits.max_file_bytes,
            max_requests=min(profile.limits.max_requests or cap, cap),
        )


def pack(sizes: Iterable[SizedRequest], limits: FileLimits) -> Iterator[list[SizedRequest]]:
    """Group `sizes`, in order, into the fewest files that stay within `limits`.

    Reads no further than one request beyond the file it yields, and holds one file's worth of
    sizes at a time. Raises SourceError for a request that fits in no file at all.
    """
    members: list[SizedRequest] = []
    held = 0
    for request in sizes:
        if request.size > limits.max_bytes:
            raise SourceError(
                f"request {request.id} is {request.size:,} bytes; "
                f"one file holds at most {limits.max_bytes:,}",
                code="ORC2017",
                next="shorten its record, or leave it out of the source",
            )
        if members and (
            held + request.size > limits.max_bytes or len(members) >= limits.max_requests
        ):
            yield members
            members, held = [], 0
        members.append(request)
        held += request.size
    if members:
        yield members


class PlannedFile(NamedTuple):
    """A file as it will be packed: its requests and its bytes. `model` is empty if it may mix."""

    model: str
    requests: int
    bytes: int


@dataclass(slots=True)
class Packer:
    """The same grouping as `pack`, counts only, one request at a time.

    Holds two numbers, however many requests it is given. A request too large for any file is
    counted into a file of its own: to refuse it is the rules' affair.
    """

    model: str
    limits: FileLimits
    requests: int = field(default=0, init=False)
    bytes: int = field(default=0, init=False)

    def add(self, size: int) -> PlannedFile | None:
        """Count one more request in; return the file that it closed, if it closed one."""
        held = self.bytes + size
        if self.requests and (
            held > self.limits.max_bytes or self.requests >= self.limits.max_requests
        ):
            closed = PlannedFile(self.model, self.requests, self.bytes)
            self.requests, self.bytes = 1, size
            return closed
        self.requests += 1
        self.bytes = held
        return None

    def close(self) -> PlannedFile | None:
        """Return the last file, None if nothing was ever added."""
        return PlannedFile(self.model, self.requests, self.bytes) if self.requests else None
