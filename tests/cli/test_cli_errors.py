from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.errors import render
from orchestrator.cli.terminal import styled
from orchestrator.domain.errors import RejectedError, SourceError


def no_paint(text, _style):
    return text


FULL = RejectedError(
    "kimi refused the input file of labels/b03",
    where="line 17,204, custom_id page-88121",
    why='"temperature is not allowed for this model" (invalid_request_error)',
    safe="no request of b03 ran, none was charged; 50,000 records wait again",
    next="fix jobs.labels.request, then: orchestrator retry labels",
)


def test_the_error_of_the_interface_specification():
    lines = render(FULL, width=94, verbose=False, paint=no_paint)
    assert lines == [
        "error: kimi refused the input file of labels/b03".ljust(85) + "[ORC3207]",
        "  where  line 17,204, custom_id page-88121",
        '  why    "temperature is not allowed for this model" (invalid_request_error)',
        "  safe   no request of b03 ran, none was charged; 50,000 records wait again",
        "  next   fix jobs.labels.request, then: orchestrator retry labels",
    ]


def test_colour_adds_nothing_to_the_words():
    plain = render(FULL, width=80, verbose=False, paint=no_paint)
    coloured = render(FULL, width=80, verbose=False, paint=styled)
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in coloured] == plain


def test_the_request_id_stands_with_the_reason():
    error = RejectedError("kimi said no", why='"bad model"', request_id="req-17")
    lines = render(error, width=0, verbose=False, paint=no_paint)
    assert lines == ["error: kimi said no  [ORC3207]", '  why    "bad model" (request req-17)']


@pytest.mark.parametrize("count", [0, 1, 3, 4, 1_000])
def test_an_error_has_eight_lines_at_most_and_counts_what_it_leaves_out(count):
    error = SourceError(
        "reviews.csv breaks the rules",
        where="reviews.csv",
        why="keys are unique",
        safe="nothing was registered",
        next="fix the file",
        details=[f"line {n}: duplicate key" for n in range(count)],
    )
    lines = render(error, width=80, verbose=False, paint=no_paint)
    assert len(lines) <= 8
    shown = sum("duplicate key" in line for line in lines)
    if shown < count:
        assert f"         and {count - shown:,} more; -v lists them" in lines
    everything = render(error, width=80, verbose=True, paint=no_paint)
    assert sum("duplicate key" in line for line in everything) == count


@given(st.text(), st.text(), st.integers(0, 300))
def test_whatever_a_provider_says_an_error_stays_on_its_lines(message, why, width):
    lines = render(RejectedError(message, why=why), width=width, verbose=False, paint=no_paint)
    assert len("\n".join(lines).splitlines()) == len(lines) <= 2
    assert lines[0].endswith("[ORC3207]")
