from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import human
from orchestrator.domain.model import BatchState, Books, Job, JobState
from orchestrator.domain.money import Money
from orchestrator.domain.profile import Price
from orchestrator.domain.progress import (
    BatchGroup,
    costs,
    finish,
    pace,
    share_of,
    split_open,
    usual,
)
from orchestrator.domain.waiting import job_waits_for

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
COUNT = st.integers(0, 10_000_000)
PRICE = Price(
    currency="USD",
    input=Decimal("0.50"),
    cached_input=Decimal("0.10"),
    output=Decimal("2.00"),
    online_input=Decimal("1.00"),
    online_output=Decimal("4.00"),
    as_of=NOON.date(),
)


def a_group(state=BatchState.LIVE, **changes):
    values = {
        "job_id": 1,
        "state": state,
        "provider": "kimi",
        "model": "m",
        "batches": 1,
        "requests": 100,
        "since": NOON,
        "due_at": NOON + timedelta(hours=1),
        **changes,
    }
    return BatchGroup(**values)


def a_job(books, state=JobState.RUNNING, **changes):
    values = {
        "id": 1,
        "name": "labels",
        "state": state,
        "provider": "kimi",
        "spec": "{}",
        "digest": "",
        "books": books,
        "batches": 1,
        "due_at": NOON + timedelta(hours=1),
        "created_at": NOON,
        **changes,
    }
    return Job(**values)


BOOKS = st.builds(
    lambda *counts: Books(
        records=sum(counts),
        waiting=counts[0],
        in_flight=counts[1],
        succeeded=counts[2],
        failed=counts[3],
        expired=counts[4],
        cancelled=counts[5],
    ),
    *[COUNT] * 6,
)
GROUPS = st.lists(
    st.builds(a_group, st.sampled_from(BatchState), reported=COUNT, batches=st.integers(1, 99)),
    max_size=8,
)


@given(BOOKS, GROUPS)
def test_the_parts_of_open_add_up_whatever_the_provider_reports(books, groups):
    parts = split_open(books, groups)
    assert parts.total == books.open
    assert min(parts.reported, parts.in_flight, parts.waiting) >= 0
    assert parts.reported <= books.in_flight


@given(BOOKS)
def test_the_share_recorded_never_lies(books):
    text = human.percent(books.recorded, books.records)
    assert (text == "100 %") == (books.records > 0 and books.open == 0)
    assert (text == "0 %") == (books.records > 0 and books.recorded == 0)


@given(BOOKS, st.integers(8, 80))
def test_the_bar_is_full_only_when_everything_is_recorded(books, width):
    parts = split_open(books, [a_group(reported=books.in_flight // 2)])
    shades = human.bar(
        recorded=books.recorded,
        reported=parts.reported,
        in_flight=parts.in_flight,
        waiting=parts.waiting,
        width=width,
    )
    assert len(shades) == width + 2
    assert (shades == f"[{'█' * width}]") == (books.records > 0 and books.open == 0)


def test_nothing_was_asked_again_before_the_first_batch_is_settled():
    books = Books(records=10, waiting=5, in_flight=5)
    assert split_open(books, [a_group()]).again == 0
    assert split_open(books, [a_group(), a_group(BatchState.CLOSED)]).again is None


def test_the_pace_counts_records_an_hour_and_is_unknown_before_the_first():
    half = Books(records=100, waiting=50, succeeded=50)
    assert pace(half, NOON, NOON + timedelta(hours=2)) == 25
    assert pace(Books(records=100, waiting=100), NOON, NOON + timedelta(hours=2)) is None
    assert pace(half, NOON, NOON) is None


@given(BOOKS, GROUPS, st.lists(st.floats(1, 1e6), min_size=3, max_size=60))
def test_a_finish_range_is_in_order_and_never_in_the_past(books, groups, took):
    expected = finish(books, groups, took, NOON)
    if any(group.state is BatchState.PARKED for group in groups):
        assert expected.earliest is None
    if expected.earliest is not None:
        assert NOON <= expected.earliest <= expected.latest


def test_an_end_that_is_years_away_is_not_foretold():
    books = Books(records=1_000_001, in_flight=1, waiting=1_000_000)
    expected = finish(books, [a_group()], [86_400.0] * 3, NOON)
    assert (expected.earliest, expected.how) == (None, "too far away to tell")


def test_without_history_the_finish_is_unknown_and_the_first_window_is_told():
    ends = NOON + timedelta(hours=24)
    later = a_group(first_window_ends=ends + timedelta(hours=1))
    expected = finish(
        Books(records=1, in_flight=1), [a_group(first_window_ends=ends), later], [60.0], NOON
    )
    assert (expected.earliest, expected.first_window_ends) == (None, ends)
    assert "no history" in expected.how


def test_waiting_records_take_further_rounds_of_batches():
    live = a_group(last_created_at=NOON)
    took = [3600.0] * 3
    one = finish(Books(records=100, in_flight=100), [live], took, NOON)
    three = finish(Books(records=300, in_flight=100, waiting=200), [live], took, NOON)
    assert (one.earliest, one.latest) == (NOON + timedelta(hours=1),) * 2
    assert (three.earliest, three.latest) == (NOON + timedelta(hours=3),) * 2


@given(st.lists(st.floats(0, 1e6), max_size=100))
def test_what_is_usual_lies_within_what_was_seen(took):
    known = usual(took)
    assert (known is None) == (len(took) < 3)
    if known is not None:
        low, high = (span.total_seconds() for span in known)
        assert min(took) - 1e-5 <= low <= high <= max(took) + 1e-5


def test_costs_follow_the_tokens_and_reach_over_the_open_records():
    books = Books(records=100, waiting=50, succeeded=50)
    job = a_job(books, tokens_in=1_000_000, tokens_out=500_000)
    found = costs(job, [("kimi", "m")], lambda _provider, _model: PRICE)
    assert found.so_far == Money(Decimal("1.5"), "USD")
    assert found.estimated == Money(Decimal("3.0"), "USD")
    assert found.saved == Money(Decimal("1.5"), "USD")


@pytest.mark.parametrize(
    ("used", "prices"),
    [
        ([("kimi", "m")], {}),
        ([("kimi", "m"), ("kimi", "n")], {"m": PRICE}),
        ([], {"m": PRICE}),
    ],
)
def test_a_cost_is_unknown_unless_every_model_has_the_same_known_price(used, prices):
    job = a_job(Books(records=1, succeeded=1), tokens_in=10, tokens_out=10)
    found = costs(job, used, lambda _provider, model: prices.get(model))
    assert (found.so_far, found.estimated, found.saved) == (None, None, None)


def test_a_cost_is_unknown_where_the_server_tells_no_usage():
    job = a_job(Books(records=2, succeeded=1, waiting=1))
    assert costs(job, [("kimi", "m")], lambda *_: PRICE).so_far is None


def test_nothing_has_cost_nothing():
    job = a_job(Books(records=2, waiting=2))
    found = costs(job, [("kimi", "m")], lambda *_: PRICE)
    assert (found.so_far, found.estimated) == (Money(Decimal(0), "USD"), None)


def test_a_share_of_nothing_or_of_the_unknown_is_unknown():
    assert share_of(Money(Decimal(4), "USD"), 1, 2) == Money(Decimal(2), "USD")
    assert share_of(None, 1, 2) is None
    assert share_of(Money(Decimal(4), "USD"), 1, 0) is None


@given(BOOKS, GROUPS, st.sampled_from(JobState), st.integers(0, 2))
def test_every_job_can_say_what_it_waits_for(books, groups, state, alive):
    job = a_job(books, state, finished_at=NOON)
    waits = job_waits_for(job, groups, None, now=NOON, workers=alive)
    assert waits.words
    assert (waits.who == "nobody") == (state in {JobState.FINISHED, JobState.CANCELLED})


def test_a_job_with_something_due_and_nobody_at_work_says_so():
    job = a_job(Books(records=1, waiting=1), due_at=NOON)
    waits = job_waits_for(job, [], None, now=NOON + timedelta(hours=1), workers=0)
    assert (waits.who, waits.since) == ("worker", NOON)
    assert "orchestrator tick" in waits.next


def test_a_batch_of_no_waiting_record_is_never_waited_for():
    for states, words in (
        ((BatchState.RECONCILED, BatchState.SUPERSEDED), "2 batches to end"),
        ((BatchState.RECONCILED,), "1 batch to end"),
        ((BatchState.CLOSED,), "its end to be recorded"),
    ):
        groups = [a_group(state) for state in states]
        job = a_job(Books(records=1, succeeded=1))
        assert job_waits_for(job, groups, None, now=NOON, workers=1).words == words
    one = job_waits_for(a_job(Books(records=1, waiting=1)), [], None, now=NOON, workers=1)
    assert one.words == "room for a batch of its 1 waiting record"
