"""Output and error files: what becomes of each line, and how it is written down."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from orchestrator.sandbox.answers import Completion, complete
from orchestrator.sandbox.blobs import Blobs, BlobWriter
from orchestrator.sandbox.clumsy import Clumsy
from orchestrator.sandbox.draws import Draws
from orchestrator.sandbox.lines import InputLine, Order, Plan, Problem, ShuffledLines, decode_line
from orchestrator.sandbox.temper import Lines, Temper

_SPAN = 1 << 64
_BUFFER = 1 << 18


class Fate(enum.IntEnum):
    """What becomes of one line in one batch."""

    ANSWERED = 0
    DUPLICATED = 1
    GARBAGE_BESIDE = 2
    MANGLED = 3
    MISSING = 4
    OVERLOADED = 5
    SERVER_ERROR = 6
    CONTENT_FILTER = 7
    INVALID = 8


BILLED = bytes((Fate.ANSWERED, Fate.DUPLICATED, Fate.GARBAGE_BESIDE, Fate.MANGLED))
COUNTED_COMPLETED = BILLED + bytes((Fate.MISSING,))
FAILED = bytes((Fate.OVERLOADED, Fate.SERVER_ERROR, Fate.CONTENT_FILTER, Fate.INVALID))

_FAILURES = {
    Fate.OVERLOADED: (429, "engine_overloaded_error", "the engine is currently overloaded"),
    Fate.SERVER_ERROR: (500, "server_error", "the server had an error, please try again later"),
    Fate.CONTENT_FILTER: (400, "content_filter", "the request was rejected as high risk"),
    Fate.INVALID: (400, "invalid_request_error", "invalid request: input too long"),
}
_STRANGER = (
    b'{"id":"x","custom_id":"nobody-asked-for-this","response":{"status_code":200,'
    b'"request_id":"","body":{}},"error":null}\n'
)
_GARBAGE = (
    _STRANGER,
    b"upstream connect error or disconnect/reset before headers\n",
    b'{"response":{"status_code":200}}\n',
    b"[]\n",
    b"\n",
)


def fate_drawer(lines: Lines, draws: Draws, batch_id: str) -> Callable[[str], int] | None:
    """Return the function from custom_id to fate in this batch; None when all are answered.

    Permanent fates hang on the custom_id alone, all others on batch and custom_id.
    """
    for_ever = _thresholds(
        (Fate.CONTENT_FILTER, lines.content_filter), (Fate.INVALID, lines.invalid)
    )
    this_time = _thresholds(
        (Fate.OVERLOADED, lines.overloaded),
        (Fate.SERVER_ERROR, lines.server_error),
        (Fate.MISSING, lines.missing),
        (Fate.DUPLICATED, lines.duplicated),
        (Fate.GARBAGE_BESIDE, lines.garbage),
        (Fate.MANGLED, lines.mangled),
    )
    if not for_ever and not this_time:
        return None
    permanent, passing = draws.key("permanent"), draws.key("passing", batch_id)

    def fate(custom_id: str) -> int:
        name = custom_id.encode("utf-8", "surrogatepass")
        return _drawn(for_ever, permanent, name) or _drawn(this_time, passing, name)

    return fate


def _thresholds(*rates: tuple[Fate, float]) -> list[tuple[int, int]]:
    bounds, so_far = [], 0.0
    for fate, rate in rates:
        if rate:
            so_far += rate
            bounds.append((int(so_far * _SPAN), int(fate)))
    return bounds


def _drawn(bounds: list[tuple[int, int]], key: bytes, name: bytes) -> int:
    if not bounds:
        return 0
    drawn = int.from_bytes(blake2b(name, digest_size=8, key=key).digest(), "big")
    return next((fate for bound, fate in bounds if drawn < bound), 0)


class _Response(msgspec.Struct, gc=False):
    status_code: int
    request_id: str
    body: Completion | str | dict[str, object]


class _OutputLine(msgspec.Struct, gc=False):
    id: str
    custom_id: str
    response: _Response | None
    error: dict[str, object] | None


_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Ending:
    """How a batch ended: the first `done` lines ran between the two times.

    `unfinished` is the error code of the rest, None if nothing is said of them.
    """

    batch_id: str
    done: int
    began: float
    ended: float
    unfinished: str | None


class ResultWriter:
    """Writes the two files of one ended batch, line by line from its input blob."""

    def __init__(self, temper: Temper, draws: Draws, plan: Plan, ending: Ending) -> None:
        self._quirks = temper.quirks
        self._clumsy = Clumsy(temper.lines, draws.key("clumsy", ending.batch_id))
        self._plan = plan
        self._ending = ending
        self._draws = draws
        self._key = draws.key("answers")

    def write(self, input_key: str, blobs: Blobs, output_key: str, error_key: str) -> None:
        """Write both blobs. Holds eight bytes of memory an input line."""
        output, errors = blobs.writer(), blobs.writer()
        order = Order(self._plan.total, self._draws, self._ending.batch_id)
        try:
            with contextlib.closing(ShuffledLines(blobs, input_key, order)) as lines:
                self._write(lines, _Buffered(output), _Buffered(errors))
            output.commit(output_key)
            errors.commit(error_key)
        finally:
            output.discard()
            errors.discard()

    def _write(self, lines: ShuffledLines, output: _Buffered, errors: _Buffered) -> None:
        failed_to = output if self._quirks.error_line == "in_output" else errors
        done, fates = self._ending.done, self._plan.fates
        for place, raw in enumerate(lines.between(0, done)):
            line = decode_line(raw)
            fate = fates[place] if fates else Fate.ANSWERED
            if fate >= Fate.OVERLOADED:
                failed_to.write(self._failure(line.custom_id, Fate(fate)))
            else:
                self._answer(line, raw, place, fate, output)
        if self._ending.unfinished:
            code = self._ending.unfinished
            error: dict[str, object] = {"code": code, "message": "this request was not executed"}
            for raw in lines.between(done, self._plan.total):
                name = decode_line(raw).custom_id
                errors.write(_encode(_OutputLine(name, name, None, error)) + b"\n")
        output.flush()
        errors.flush()

    def _answer(self, line: InputLine, raw: bytes, place: int, fate: int, out: _Buffered) -> None:
        if fate == Fate.MISSING:
            return
        ending = self._ending
        spent = (ending.ended - ending.began) * (place + 1) / max(1, ending.done)
        spoilt = self._clumsy.hand(line.custom_id)
        completion = complete(line, raw, self._key, int(ending.began + spent), spoilt)
        body = _encode(completion).decode() if self._quirks.body_as_string else completion
        written = _encode(
            _OutputLine(line.custom_id, line.custom_id, _Response(200, "", body), None)
        )
        if fate == Fate.MANGLED:
            written = written[: len(written) // 2]
        out.write(written + b"\n")
        if fate == Fate.DUPLICATED:
            out.write(written + b"\n")
        elif fate == Fate.GARBAGE_BESIDE:
            out.write(_GARBAGE[place % len(_GARBAGE)])

    def _failure(self, custom_id: str, fate: Fate) -> bytes:
        status, type_, message = _FAILURES[fate]
        form: str = self._quirks.error_line
        if form == "mixed":
            forms = ("openai", "null_response", "no_response", "no_code")
            form = forms[int(self._draws.unit("form", custom_id) * len(forms))]
        error: dict[str, object] = {"code": str(status), "message": message, "type": None}
        match form:
            case "null_response":
                line: object = _OutputLine(custom_id, custom_id, None, error)
            case "no_response":
                line = {"custom_id": custom_id, "error": {"message": message, "code": type_}}
            case "no_code":
                line = {"id": custom_id, "custom_id": custom_id, "error": {"message": message}}
            case _:
                body: dict[str, object] = {"error": {"message": message, "type": type_}}
                line = _OutputLine(custom_id, custom_id, _Response(status, "", body), None)
        return _encode(line) + b"\n"


def problem_lines(problems: tuple[Problem, ...]) -> bytes:
    """Return the error file of a failed validation: JSONL of line, code, message, custom_id."""
    return b"".join(_encode(problem) + b"\n" for problem in problems)


class _Buffered:
    """Gathers lines into larger writes."""

    def __init__(self, blob: BlobWriter) -> None:
        self._blob = blob
        self._held = bytearray()

    def write(self, line: bytes) -> None:
        self._held += line
        if len(self._held) >= _BUFFER:
            self.flush()

    def flush(self) -> None:
        self._blob.write(bytes(self._held))
        self._held.clear()
