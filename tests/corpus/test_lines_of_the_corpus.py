"""Lines of result files: each fixture of `lines.toml` gets the verdict that stands beside it."""

from __future__ import annotations

import pytest
from support.corpus import Fixture, fixtures, line_of

from orchestrator.domain.model import RequestState
from orchestrator.domain.remote import Answer, OddLine
from orchestrator.domain.retry import cause_of, verdict
from orchestrator.domain.spec import Policy
from orchestrator.provider.wire_lines import read_id, read_line

LINES = fixtures("lines")


def judged(answer: Answer | OddLine) -> str:
    """Say in the corpus' words what becomes of the request whose line was read so."""
    if isinstance(answer, OddLine):
        return f"odd: {answer.reason}"
    if answer.succeeded:
        return "succeeded"
    cause = cause_of(answer)
    word = verdict(cause, refusals=1, rounds=1, policy=Policy(), withdrawn=False)
    return f"{'again' if word is RequestState.PENDING else 'failed'}: {cause}"


@pytest.mark.fault("R02", "R08", "R11")
@pytest.mark.parametrize("fixture", LINES, ids=lambda fixture: fixture.name)
def test_a_line_gets_its_verdict(fixture: Fixture) -> None:
    custom_id = fixture.get("own_id", "r-1")
    raw = line_of(fixture, custom_id)
    answer = read_line(raw)
    found = judged(answer)
    wanted = fixture["verdict"]
    if wanted.startswith("odd: "):
        assert found.startswith("odd: ")
        assert wanted.removeprefix("odd: ") in found
        return
    assert found == wanted
    assert isinstance(answer, Answer)
    assert answer.custom_id == custom_id
    for name, value in fixture.get("is", {}).items():
        assert getattr(answer, name) == value, name


@pytest.mark.fault("R11")
@pytest.mark.parametrize("fixture", LINES, ids=lambda fixture: fixture.name)
def test_what_is_read_of_a_line_fits_every_database(fixture: Fixture) -> None:
    answer = read_line(line_of(fixture, fixture.get("own_id", "r-1")))
    if isinstance(answer, OddLine):
        assert answer.reason.isprintable()
        return
    for number in (answer.tokens_in, answer.tokens_out, answer.tokens_cached):
        assert number is None or 0 <= number < 2**31
    assert answer.status_code is None or 100 <= answer.status_code <= 599
    assert answer.created_at is None or 0 <= answer.created_at < 2**37
    assert len(answer.error_message) <= 300
    for text in (answer.error_code, answer.error_message, answer.finish_reason, answer.request_id):
        assert text.isprintable()
    if answer.body is not None:
        assert b"\0" not in answer.body
        answer.body.decode()


@pytest.mark.fault("R03")
@pytest.mark.parametrize("fixture", LINES, ids=lambda fixture: fixture.name)
def test_the_quick_reading_of_an_id_says_nothing_that_the_slow_one_does_not(
    fixture: Fixture,
) -> None:
    raw = line_of(fixture, fixture.get("own_id", "r-1"))
    quick = read_id(raw)
    if quick is not None:
        answer = read_line(raw)
        assert isinstance(answer, Answer)
        assert answer.custom_id == quick
