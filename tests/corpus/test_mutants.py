"""Mutants of the corpus: whatever the bytes, no crash, no answer on a wrong record, no byte lost.

A failing mutant tells its kind and number, which replay it (`support.mutants`), and its bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

import pytest
from support.databases import Databases
from support.forging import Forge
from support.mutants import (
    MEMBERS,
    Answered,
    dice,
    mutant_answer,
    mutant_files,
    mutant_line,
    mutant_validation,
)
from support.world import World

from orchestrator.domain.errors import (
    ProviderError,
    RejectedError,
    UnansweredError,
    UnavailableError,
)
from orchestrator.domain.matching import Place
from orchestrator.domain.model import BatchState
from orchestrator.domain.remote import Answer, OddLine
from orchestrator.engine.steps.follow import when
from orchestrator.engine.steps.reading import Reading
from orchestrator.provider import wire
from orchestrator.provider.wire_lines import read_id, read_line
from orchestrator.registry.session import Registry

KEY = re.compile(r"(?<!\w)sk-abcdefgh12345678")
SHARES = {"lines": 0.6, "answers": 0.2, "files": 0.18, "validations": 0.02}
MUTANTS, SOME_MUTANTS = 50_000, 5_000
BATCHES, SOME_BATCHES = 200, 20


def count(request: pytest.FixtureRequest, kind: str) -> int:
    """Return how many mutants of a kind this run takes."""
    thorough = request.config.getoption("--thorough")
    return round((MUTANTS if thorough else SOME_MUTANTS) * SHARES[kind])


def each(kind: str, number: int, raw: object, check: Callable[[], None]) -> None:
    """Check one mutant; say how to meet it again if it fails."""
    try:
        check()
    except Exception as exc:
        pytest.fail(f"mutant_{kind}({number}): {type(exc).__name__}: {exc}\n{raw!r}", pytrace=True)


def ids_of(raw: bytes) -> list[Any] | None:
    """Return every custom_id that a line itself bears, read by another parser; None: unreadable."""
    last: list[tuple[str, Any]] = []

    def keep(pairs: list[tuple[str, Any]]) -> str:
        nonlocal last
        last = pairs
        return "an object"

    text = raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    try:
        value = json.loads(text, object_pairs_hook=keep, parse_int=str)
    except (ValueError, RecursionError):
        return None
    return [v for name, v in last if name == "custom_id"] if value == "an object" else []


def assert_fits(answer: Answer) -> None:
    """What was read of a line fits every database and every screen."""
    for number in (answer.tokens_in, answer.tokens_out, answer.tokens_cached):
        assert number is None or 0 <= number < 2**31
    assert answer.status_code is None or 100 <= answer.status_code <= 599
    assert answer.created_at is None or 0 <= answer.created_at < 2**37
    assert len(answer.error_message) <= 300
    for text in (answer.error_code, answer.error_message, answer.finish_reason, answer.request_id):
        assert text.isprintable()
    assert not KEY.search(answer.error_message)
    if answer.body is not None:
        assert b"\0" not in answer.body
        answer.body.decode()


def check_line(raw: bytes) -> None:
    answer = read_line(raw)
    quick = read_id(raw)
    if isinstance(answer, OddLine):
        assert quick is None
        assert answer.reason.isprintable()
        return
    assert quick in {None, answer.custom_id}
    borne = ids_of(raw)
    assert borne is None or (borne and all(one == answer.custom_id for one in borne)), borne
    assert_fits(answer)


@pytest.mark.fault("R02", "R03", "R11")
def test_no_damage_makes_a_line_somebody_elses_answer_or_its_reader_fail(
    request: pytest.FixtureRequest,
) -> None:
    seen: Counter[str] = Counter()
    for number in range(count(request, "lines")):
        raw = mutant_line(number)
        each("line", number, raw, lambda raw=raw: check_line(raw))
        seen[type(read_line(raw)).__name__] += 1
    assert min(seen["Answer"], seen["OddLine"]) > sum(seen.values()) / 5, "damage must tell"


READERS: Sequence[Callable[[bytes], Any]] = (
    wire.read_batch,
    wire.read_file,
    wire.read_batch_page,
    wire.read_file_page,
    wire.read_deletion,
    wire.read_models,
    wire.read_balance,
)


def check_answer(answer: Answered) -> None:
    for read in READERS:
        with contextlib.suppress(wire.OddAnswer):
            check_value(read(answer.body))
    for effect in (True, False):
        error = wire.sort_error(
            "POST /v1/batches", answer.status, answer.headers, answer.body, effect=effect
        )
        check_error(error, answer, effect=effect)


def check_value(value: Any) -> None:
    if isinstance(value, wire.Page):
        for item in value.items:
            check_value(item)
    elif hasattr(value, "created_at"):
        assert value.id.strip()
        assert value.id.isprintable()
        assert when(value.created_at) is None or value.created_at > 0
    if hasattr(value, "counts"):
        assert all(error.isprintable() for error in value.errors)
        assert value.counts is None or min(value.counts.total, value.counts.failed) >= 0
        assert value.output_file_id is None or value.output_file_id.strip()


def check_error(error: ProviderError, answer: Answered, *, effect: bool) -> None:
    assert error.retry_after is None or 0 <= error.retry_after <= 3600
    assert error.why.isprintable()
    assert not KEY.search(error.why)
    readable = wire.sort_error("x", 400, {}, answer.body, effect=True)
    certain = isinstance(readable, RejectedError) or not isinstance(readable, UnansweredError)
    if effect and answer.status != 413 and not (certain and 400 <= answer.status < 500):
        assert isinstance(error, UnansweredError), "only a parsed 4xx is a certain no"
    if not effect:
        assert not isinstance(error, UnansweredError)
        assert answer.status < 500 or isinstance(error, UnavailableError)


@pytest.mark.fault("U04", "C02", "P01")
def test_no_damage_makes_an_answer_of_a_call_a_certain_no_or_its_reader_fail(
    request: pytest.FixtureRequest,
) -> None:
    for number in range(count(request, "answers")):
        answer = mutant_answer(number)
        each("answer", number, answer, lambda answer=answer: check_answer(answer))


@pytest.mark.fault("P07")
def test_no_damage_makes_the_reader_of_validation_errors_fail(
    request: pytest.FixtureRequest,
) -> None:
    for number in range(count(request, "validations")):
        raw = mutant_validation(number)
        each("validation", number, raw, lambda raw=raw: check_faults(raw))


def check_faults(raw: bytes) -> None:
    faults = wire.read_validation_errors(raw)
    assert len(faults) <= 10_000
    for fault in faults:
        assert len(fault.message) <= 300
        assert fault.message.isprintable()


def in_memory(raw: bytes) -> IO[bytes]:
    file = os.fdopen(os.memfd_create("mutant"), "wb+")
    file.write(raw)
    file.seek(0)
    return file


def check_files(files: Sequence[bytes | None]) -> None:
    with contextlib.ExitStack() as stack:
        opened = [None if raw is None else stack.enter_context(in_memory(raw)) for raw in files]
        reading = Reading({custom_id: at for at, custom_id in enumerate(MEMBERS)}, opened)
        odd = [one.place for one in reading.odd_lines()]
        places = [reading.matcher.place(at) for at in range(len(MEMBERS))]
        assert_all_is_accounted_for(files, reading, odd, [p for p in places if p])
        for custom_id, place in zip(MEMBERS, places, strict=True):
            assert_is_the_members_own(files, reading, custom_id, place)


def spans(raw: bytes | None) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes of each line, cut by another hand."""
    offset = 0
    for line in (raw or b"").split(b"\n"):
        whole = line + b"\n"
        if offset + len(line) < len(raw or b""):
            yield offset, whole
        elif line:
            yield offset, line
        offset += len(whole)


def assert_all_is_accounted_for(
    files: Sequence[bytes | None], reading: Reading, odd: Sequence[Place], own: Sequence[Place]
) -> None:
    counts = reading.counts()
    taken = {(place.file, place.line): place for place in (*odd, *own)}
    assert len(taken) == len(odd) + len(own), "a line was taken twice"
    left: list[bytes] = []
    for number, raw in enumerate(files):
        lines = list(spans(raw))
        assert counts[f"{('output', 'error')[number]}_lines"] == len(lines)
        for at, (offset, line) in enumerate(lines, start=1):
            place = taken.pop((number, at), None)
            if place is None:
                left.append(line)
            else:
                assert (place.offset, place.length) == (offset, len(line))
    assert not taken, "a place is none of a line"
    repeated = [line.strip() for line in left if not line.isspace()]
    assert (len(repeated), len(left) - len(repeated)) == (counts["repeated"], counts["blank"])
    heard = {reading.line(place).strip() for place in (*odd, *own)}
    assert heard.issuperset(repeated), "a line that was passed over is no repetition"
    kinds = ("unreadable", "unknown_ids", "conflicting")
    assert sum(counts[kind] for kind in kinds) == len(odd)
    assert counts["answers"] == len(own)


def assert_is_the_members_own(
    files: Sequence[bytes | None], reading: Reading, custom_id: str, place: Place | None
) -> None:
    named = [
        answer
        for raw in files
        for _, line in spans(raw)
        if isinstance(answer := read_line(line), Answer) and answer.custom_id == custom_id
    ]
    assert (place is None) == (not named), "an answer was lost"
    if place is not None:
        line = reading.line(place)
        answer = read_line(line)
        borne = ids_of(line)
        assert borne is None or all(one == custom_id for one in borne)
        assert isinstance(answer, Answer)
        assert answer.succeeded == any(one.succeeded for one in named), "a success was set aside"


@pytest.mark.fault("D01", "R02", "R03", "R04", "R05", "R06", "R11")
def test_every_byte_of_damaged_files_is_accounted_for_and_no_answer_is_a_wrong_ones(
    request: pytest.FixtureRequest,
) -> None:
    for number in range(count(request, "files")):
        files = mutant_files(number)
        each("files", number, files, lambda files=files: check_files(files))


@pytest.mark.fault("D07", "R11")
@pytest.mark.parametrize("noise", [b"x", b"{", b'{"a":', b"\0", b'"', b"\xff", b" "])
def test_a_line_without_end_is_read_in_flat_memory(noise: bytes) -> None:
    cap, size = 1 << 20, 48 << 20
    file = in_memory(noise * (size // len(noise)))
    with file:
        tracemalloc.start()
        reading = Reading({"r-1": 0}, [file, None], line_cap=cap)
        odd = list(reading.odd_lines())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert [one.place.line for one in odd] == [1]
    assert peak < 6 * cap


@pytest.mark.fault("D01", "R02", "R03", "R04", "R05", "R06", "R11", "P12")
def test_damaged_files_end_a_batch_in_the_registry_with_exact_counts(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    thorough = request.config.getoption("--thorough")
    rounds = BATCHES if thorough else SOME_BATCHES
    registry = Registry(databases.fresh("sqlite"), sync=False)
    forge = Forge(World(registry, tmp_path_factory.mktemp("mutants")), count=rounds, size=4)
    for number in range(rounds):
        each("files", number, mutant_files(number), lambda number=number: end_one(forge, number))
    books = forge.world.job().books
    assert books.balanced
    assert books.succeeded > 0, "a run in which nothing succeeds proves nothing"
    registry.close()


def end_one(forge: Forge, number: int) -> None:
    """End a batch with mutant files and counts drawn at random, and hold its books to account."""
    batch, members = forge.live()
    files = mutant_files(number, members)
    rng = dice("end", number)
    batch = forge.settle(
        forge.end(
            batch,
            status=rng.choice(("completed", "completed", "expired", "failed")),
            counts=rng.choice((None, (4, 4, 0), (4, 2, 2), (4, 0, 0), (4, 9, 9))),
            output=None if files.output is None else [files.output],
            error=None if files.error is None else [files.error],
        )
    )
    assert batch.state in {BatchState.RECONCILED, BatchState.PARKED, BatchState.SUPERSEDED}
    states = forge.states(members)
    assert sum(states.values()) == len(members)
    if batch.state is BatchState.RECONCILED:
        assert states["assigned"] == 0
    assert states["succeeded"] == batch.succeeded == len(forge.answers(members))
    for event in forge.told(batch, "odd_lines"):
        odd = event["unreadable"] + event["unknown_ids"] + event["conflicting"]
        assert odd == len(forge.odd(batch)) == batch.odd
        assert event["succeeded"] + event["failed"] + event["missing"] == len(members)
