"""First pass over a batch's files: whose each line is, or why it is nobody's. No database.

Conservation: lines = blank + answers + repeated + odd, each odd one with a reason.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from orchestrator.domain.matching import (
    CONTRADICTED,
    DISPLACED,
    UNKNOWN_ID,
    Matcher,
    Odd,
    Place,
)
from orchestrator.domain.remote import Answer, OddLine
from orchestrator.provider.wire_lines import read_id, read_line

SOURCES = ("output", "error")
LINE_CAP = 256 << 20
"""Bytes of one line: a longer one is nobody's answer and is never held whole."""

ODD_KINDS = ("repeated", "unreadable", "unknown_ids", "conflicting")
"""Counts of lines that a healthy file does not have."""

_ENDS = b" \t\r\n"
_KINDS = {UNKNOWN_ID: "unknown_ids", CONTRADICTED: "conflicting", DISPLACED: "conflicting"}


class Reading:
    """Reads an output and an error file once and knows then where each member's answer stands.

    `members` maps each custom_id to its index 0..n-1; a file that is not there is None. Memory:
    one line, and about 25 bytes a member.
    """

    def __init__(
        self,
        members: Mapping[str, int],
        files: Sequence[IO[bytes] | None],
        *,
        line_cap: int | None = None,
    ) -> None:
        self._files = files
        self._cap = line_cap or LINE_CAP
        self._odd: Counter[str] = Counter()
        self._lines = [0] * len(files)
        self._blank = 0
        self.matcher = Matcher(members)

    def odd_lines(self) -> Iterator[Odd]:
        """Read every line of both files; yield those that are nobody's answer, with the reason."""
        for number, file in enumerate(self._files):
            if file is None:
                continue
            for place, raw in self._walk(number, file):
                odd = self._offer(place, raw)
                if odd is not None:
                    self._odd[_KINDS.get(odd.reason, "unreadable")] += 1
                    yield odd

    def line(self, place: Place, cap: int | None = None) -> bytes:
        """Return a line where it stands, at most `cap` bytes of it."""
        file = self._files[place.file]
        assert file is not None  # noqa: S101 - a place is in a file that was read
        size = min(place.length, cap) if cap else place.length
        # Past the file's own buffer and position.
        return os.pread(file.fileno(), size, place.offset)

    def answers_in(self, number: int) -> bool:
        """Whether a member's answer stands in this file."""
        return self.matcher.any_in(number)

    def counts(self) -> dict[str, int]:
        """Return how many lines were read and what became of each; they add up."""
        odd = {kind: self._odd[kind] for kind in ODD_KINDS}
        return {
            "output_lines": self._lines[0],
            "error_lines": self._lines[1],
            "blank": self._blank,
            "answers": self.matcher.matched,
            **odd,
            "repeated": self.matcher.repeated,
        }

    def _walk(self, number: int, file: IO[bytes]) -> Iterator[tuple[Place, bytes]]:
        """Yield the lines that are not blank, with their places; of one over the cap its begin."""
        offset = 0
        while raw := file.readline(self._cap + 1):
            # What follows the cap is no line of its own, whatever it looks like.
            length = len(raw) + (_skip_rest(file, self._cap) if len(raw) > self._cap else 0)
            self._lines[number] += 1
            if length == len(raw) and raw.isspace():
                self._blank += 1
            else:
                yield Place(number, self._lines[number], offset, length), raw
            offset += length

    def _offer(self, place: Place, raw: bytes) -> Odd | None:
        if place.length > self._cap:
            return Odd(place, f"the line is longer than {self._cap:,} bytes")
        custom_id = read_id(raw)
        if custom_id is None:
            answer = read_line(raw)
            if isinstance(answer, OddLine):
                return Odd(place, answer.reason)
            custom_id = answer.custom_id
        found = self.matcher.offer(custom_id, place)
        if not isinstance(found, Place):
            return found
        before = self.line(found)
        now, then = _succeeded(raw), _succeeded(before)
        # The last line of a file may lack what ends the others.
        same = before.strip(_ENDS) == raw.strip(_ENDS)
        wins = now and not then
        return self.matcher.settle(custom_id, place, found, same=same, wins=wins, succeeded=now)


def _skip_rest(file: IO[bytes], cap: int) -> int:
    """Read on to the end of a line whose begin was read; return how many bytes that was."""
    skipped = 0
    while rest := file.readline(cap):
        skipped += len(rest)
        if rest.endswith(b"\n"):
            break
    return skipped


def _succeeded(raw: bytes) -> bool:
    answer = read_line(raw)
    return isinstance(answer, Answer) and answer.succeeded
