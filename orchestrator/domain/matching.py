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
DISPLACED = "the request has another answer; this failure is set aside"


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

    `members` maps each custom_id to its index 0..n-1. Memory: about 25 bytes a member, beside the
    mapping.
    """

    def __init__(self, members: Mapping[str, int]) -> None:
        self._members = members
        size = len(members)
        self._file = array("b", [-1]) * size
        self._line = array("q", [0]) * size
        self._offset = array("q", [0]) * size
        self._length = array("q", [0]) * size
        self.matched = 0
        self.repeated = 0

    def offer(self, custom_id: str, place: Place) -> Odd | Place | None:
        """Take a line: None if it is its member's answer now, Odd if nobody's.

        A Place is that of the answer the member has already: `settle` between the two.
        """
        index = self._members.get(custom_id)
        if index is None:
            return Odd(place, UNKNOWN_ID)
        if self._file[index] >= 0:
            return self.place(index)
        self.matched += 1
        self._keep(index, place)
        return None

    def settle(
        self, custom_id: str, place: Place, rival: Place, *, same: bool, wins: bool, succeeded: bool
    ) -> Odd | None:
        """Settle between a line and its rival; return the one that is set aside.

        `same`: both are byte for byte the same. `wins`: the line succeeded and its rival did not.
        `succeeded`: the line did.
        """
        if same:
            self.repeated += 1
            return None
        if wins:
            self._keep(self._members[custom_id], place)
            return Odd(rival, DISPLACED)
        return Odd(place, CONTRADICTED if succeeded else DISPLACED)

    def any_in(self, file: int) -> bool:
        """Whether a member's answer stands in `file`."""
        return file in self._file

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

    def _keep(self, index: int, place: Place) -> None:
        self._file[index] = place.file
        self._line[index] = place.line
        self._offset[index] = place.offset
        self._length[index] = place.length
