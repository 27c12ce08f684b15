"""Match the lines of a batch's files to its members. Pure: places in, verdicts out.

Conservation: every line offered is either somebody's answer, a mere repetition of one, or odd with
a reason; every member has at most one answer. The first success stays; a success displaces a
failure; nothing is ever matched by order.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from typing import NamedTuple

UNKNOWN_ID = "no request of this batch has this custom_id"
CONTRADICTED = "the request has another answer already; the first success stays"
DISPLACED = "the request succeeded on another line; this failure is set aside"


class Place(NamedTuple):
    """Where a line stands: file 0 is the output file, 1 the error file; `line` counts from 1."""

    file: int
    line: int
    offset: int
    length: int


class Odd(NamedTuple):
    """A line that is nobody's answer, and why."""

    place: Place
    reason: str


class Matcher:
    """Takes the lines of both files one by one and remembers one place a member.

    `members` maps each custom_id to its index 0..n-1. Memory: about 30 bytes a member, beside the
    mapping.
    """

    def __init__(self, members: Mapping[str, int]) -> None:
        self._members = members
        size = len(members)
        self._file = array("b", [-1]) * size
        self._succeeded = array("b", [0]) * size
        self._line = array("q", [0]) * size
        self._offset = array("q", [0]) * size
        self._length = array("q", [0]) * size
        self.matched = 0
        self.repeated = 0

    def rival(self, custom_id: str) -> Place | None:
        """Return the place of the answer that `custom_id` has already, if it has one."""
        index = self._members.get(custom_id)
        return None if index is None else self.place(index)

    def offer(
        self, custom_id: str, place: Place, *, succeeded: bool, same_as_rival: bool = False
    ) -> Odd | None:
        """Take a line; return the line that is set aside by it: itself, its rival, or none.

        `same_as_rival`: the line's bytes are those of the answer the request has already.
        """
        index = self._members.get(custom_id)
        if index is None:
            return Odd(place, UNKNOWN_ID)
        held = self.place(index)
        if held is None:
            self.matched += 1
            self._keep(index, place, succeeded)
            return None
        if same_as_rival:
            self.repeated += 1
            return None
        if succeeded and not self._succeeded[index]:
            self._keep(index, place, succeeded)
            return Odd(held, DISPLACED)
        return Odd(place, CONTRADICTED if succeeded else DISPLACED)

    def place(self, index: int) -> Place | None:
        """Return where the answer of member `index` stands; None if it has none."""
        file = self._file[index]
        if file < 0:
            return None
        return Place(file, self._line[index], self._offset[index], self._length[index])

    def places(self, start: int, count: int) -> Iterator[tuple[int, Place | None]]:
        """Yield (index, place) of `count` members from `start`, in source order."""
        for index in range(start, min(start + count, len(self._file))):
            yield index, self.place(index)

    def _keep(self, index: int, place: Place, succeeded: bool) -> None:
        self._file[index] = place.file
        self._succeeded[index] = succeeded
        self._line[index] = place.line
        self._offset[index] = place.offset
        self._length[index] = place.length
