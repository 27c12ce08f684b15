"""Input lines: what the provider finds when it reads a file, and in what order it runs them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

from orchestrator.sandbox.blobs import Blobs
from orchestrator.sandbox.draws import Draws
from orchestrator.sandbox.temper import Bounds

PROBLEMS_KEPT = 1000
"""Reasons listed for one failed file; reading stops there."""


class InputLine(msgspec.Struct, gc=False):
    """One request; members that no page names are let through."""

    custom_id: str
    method: str
    url: str
    body: dict[str, msgspec.Raw]


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a file fails validation. `line` counts from 1; `custom_id` is left out where unknown."""

    line: int
    code: str
    message: str
    custom_id: str | None = None


class _Named(msgspec.Struct):
    custom_id: str


decode_line = msgspec.json.Decoder(InputLine).decode
_decode_name = msgspec.json.Decoder(_Named).decode
_decode_text = msgspec.json.Decoder(str).decode


@dataclass(frozen=True, slots=True)
class Plan:
    """What reading a file brought: why it fails, or the fate of each line in order of running."""

    total: int
    problems: tuple[Problem, ...] = ()
    fates: bytes = b""
    """Empty when every line will be answered."""

    def count(self, fates: bytes, first: int) -> int:
        """Count the lines with one of `fates` among the `first` ones that run."""
        if not self.fates:
            return first if 0 in fates else 0
        ran = self.fates[:first]
        return sum(ran.count(fate) for fate in fates)


class Order:
    """A seeded permutation of 0 to `total` - 1 that takes no memory."""

    def __init__(self, total: int, draws: Draws, name: str) -> None:
        self.total = total
        self._start = int(draws.unit("order", name) * total)
        step = max(1, int((0.3 + 0.4 * draws.unit("step", name)) * total))
        while math.gcd(step, total) != 1:
            step += 1
        self._step = step

    def __getitem__(self, place: int) -> int:
        """Return which input line, counted from 0, runs in `place`."""
        return (self._start + self._step * place) % self.total


class LineCheck:
    """The documented rules of one file, over its lines in turn."""

    def __init__(self, limits: Bounds) -> None:
        self._limits = limits
        self._forbidden = frozenset(limits.forbidden)
        self._models = frozenset(limits.models)
        self._model: bytes = b""
        self._seen: set[str] = set()

    def problem(self, line: InputLine) -> tuple[str, str] | None:
        """Return code and message of the first rule that `line` breaks, None if there is none."""
        if line.custom_id in self._seen:
            return "duplicate_custom_id", f"custom_id {line.custom_id!r} is used more than once"
        self._seen.add(line.custom_id)
        return self._shape(line) or self._body(line.body)

    def _shape(self, line: InputLine) -> tuple[str, str] | None:
        longest = self._limits.custom_id_max
        if not line.custom_id:
            return "invalid_custom_id", "custom_id must not be empty"
        if longest is not None and len(line.custom_id) > longest:
            return "invalid_custom_id", f"custom_id is longer than {longest} characters"
        if line.method != "POST":
            return "invalid_method", f"method must be POST, got {line.method!r}"
        if line.url != self._limits.endpoint:
            return "invalid_url", f"url must be {self._limits.endpoint}, got {line.url!r}"
        return None

    def _body(self, body: dict[str, msgspec.Raw]) -> tuple[str, str] | None:
        if not self._forbidden.isdisjoint(body):
            word = next(name for name in self._limits.forbidden if name in body)
            return "invalid_parameter", f"parameter {word} is not allowed in a batch request"
        messages = bytes(body.get("messages", b""))
        if messages[:1] != b"[" or not messages[1:-1].strip():
            return "invalid_request", "body.messages must be a non-empty array"
        return self._check_model(bytes(body.get("model", b"null")))

    def _check_model(self, raw: bytes) -> tuple[str, str] | None:
        if raw == self._model:
            return None
        if self._model:
            return "mixed_models", "every line of a file must use the same model"
        try:
            model = _decode_text(raw)
        except msgspec.DecodeError:
            return "invalid_model", "body.model must be a string"
        if self._models and model not in self._models:
            return "model_not_found", f"model {model} does not exist or does not support batch"
        self._model = raw
        return None


def read_file(
    blob: BinaryIO, limits: Bounds, fate: Callable[[str], int] | None, draws: Draws, batch_id: str
) -> Plan:
    """Read and check the file that `blob` is; `fate` draws what becomes of a custom_id.

    Holds the custom_ids and a byte a line while it reads, the byte a line afterwards.
    """
    check = LineCheck(limits)
    problems: list[Problem] = []
    fates = bytearray()
    total = 0
    for raw in blob:
        total += 1
        problem = _examine(raw, total, check)
        if isinstance(problem, Problem):
            problems.append(problem)
            if len(problems) >= PROBLEMS_KEPT:
                break
        elif fate is not None:
            fates.append(fate(problem.custom_id))
    problems.extend(_whole_file(total, limits))
    if problems:
        return Plan(total, tuple(problems))
    if not any(fates):
        return Plan(total)
    order = Order(total, draws, batch_id)
    return Plan(total, fates=bytes(fates[order[place]] for place in range(total)))


def _examine(raw: bytes, number: int, check: LineCheck) -> Problem | InputLine:
    try:
        line = decode_line(raw)
    except msgspec.DecodeError as exc:
        return Problem(number, "invalid_json_line", f"line can't be read: {exc}", _name_in(raw))
    broken = check.problem(line)
    return line if broken is None else Problem(number, *broken, custom_id=line.custom_id)


def _name_in(raw: bytes) -> str | None:
    try:
        return _decode_name(raw).custom_id
    except msgspec.DecodeError:
        return None


def _whole_file(total: int, limits: Bounds) -> list[Problem]:
    if limits.max_requests is not None and total > limits.max_requests:
        message = f"the file holds {total} requests; one batch takes {limits.max_requests}"
        return [Problem(limits.max_requests + 1, "too_many_requests", message)]
    return []


class ShuffledLines:
    """The lines of a blob in the order they run. Holds eight bytes of memory a line."""

    def __init__(self, blobs: Blobs, key: str, order: Order) -> None:
        self._order = order
        self._ends = array("Q")
        position = 0
        with blobs.reader(key) as blob:
            for raw in blob:
                position += len(raw)
                self._ends.append(position)
        self._blob = blobs.reader(key, scattered=True)

    def between(self, first: int, last: int) -> Iterator[bytes]:
        """Yield the lines that run in the places from `first` up to `last`."""
        ends, order, seek, read = self._ends, self._order, self._blob.seek, self._blob.read
        for place in range(first, last):
            number = order[place]
            start = ends[number - 1] if number else 0
            seek(start)
            yield read(ends[number] - start)

    def close(self) -> None:
        """Close the blob."""
        self._blob.close()
