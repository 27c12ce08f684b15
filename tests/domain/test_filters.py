from __future__ import annotations

import contextlib
import sqlite3
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.errors import UsageError
from orchestrator.domain.filters import (
    BATCH_FIELDS,
    EVENT_FIELDS,
    JOB_FIELDS,
    RECORD_FIELDS,
    Compares,
    Matches,
    Pattern,
    Says,
    Since,
    Tagged,
    Until,
    parse_filter,
)
from orchestrator.domain.units import format_duration, parse_duration, parse_money, parse_size

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def parsed(text, fields=RECORD_FIELDS, now=NOW):
    return parse_filter(text, fields, now=now)


def exact(text):
    return Pattern(text, glob=False)


def test_the_example_of_the_interface_specification():
    text = (
        "state:failed cause:overloaded key:page-88* attempts>2 since:2h tag:team=support"
        ' "words in the error"'
    )
    assert parsed(text) == (
        Matches("state", (exact("failed"),)),
        Matches("cause", (exact("overloaded"),)),
        Matches("key", (Pattern("page-88*", glob=True),)),
        Compares("attempts", ">", 2),
        Since(NOW - timedelta(hours=2)),
        Tagged("team", exact("support")),
        Says("words in the error"),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("   ", ()),
        ("state:failed,expired", (Matches("state", (exact("failed"), exact("expired"))),)),
        ("-state:failed", (Matches("state", (exact("failed"),), negated=True),)),
        ("state!=failed", (Matches("state", (exact("failed"),), negated=True),)),
        ("-state!=failed", (Matches("state", (exact("failed"),)),)),
        ("state:In-Flight", (Matches("state", (exact("in_flight"),)),)),
        ('key:"a b","c,d*"', (Matches("key", (exact("a b"), exact("c,d*"))),)),
        (r'key:"a\"b"', (Matches("key", (exact('a"b'),)),)),
        ("attempts:2", (Compares("attempts", "=", 2),)),
        ("attempts>=1,000", (Compares("attempts", ">=", 1_000),)),
        ("-attempts>2", (Compares("attempts", "<=", 2),)),
        ("until:2026-11-01", (Until(datetime(2026, 11, 1, tzinfo=UTC)),)),
        ("-since:2026-11-01", (Until(datetime(2026, 11, 1, tzinfo=UTC)),)),
        ("tag:team", (Tagged("team", None),)),
        ("-tag:team=a*", (Tagged("team", Pattern("a*", glob=True), negated=True),)),
        ("overloaded", (Says("overloaded"),)),
        ('-"rate limit"', (Says("rate limit", negated=True),)),
    ],
)
def test_terms_become_conditions(text, expected):
    assert parsed(text) == expected


def test_a_date_is_meant_in_the_users_zone():
    now = NOW.astimezone(ZoneInfo("Asia/Shanghai"))
    assert parsed("since:2026-11-23", now=now) == (
        Since(datetime(2026, 11, 22, 16, 0, tzinfo=UTC)),
    )


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("state:faild", 1, 'did you mean "failed"'),
        ("key:a  stat:x", 8, 'no field "stat"; did you mean "state"'),
        ("attempts>many", 1, 'a whole number, not "many"'),
        ("state>failed", 1, 'takes ":"'),
        ("state:", 1, "state has no value"),
        ("key:,", 1, "key has no value"),
        ('key:a "open', 7, "quotation mark"),
        ('key:a"b', 1, "quotation mark"),
        ("since:soon", 1, "a duration (2h, 3d) or a date"),
        ("since>2h", 1, 'takes ":"'),
        ("tag:=x", 1, "tag:name=value"),
        ("tag:a=b,c", 1, "one value"),
        ("key:a -", 7, "no words"),
    ],
)
def test_what_can_not_be_read_is_named_with_its_place(text, position, says):
    with pytest.raises(UsageError) as caught:
        parsed(text)
    assert caught.value.code == "ORC1002"
    assert says in caught.value.message
    assert caught.value.where.startswith(f"character {position}:")


def test_a_filter_is_bounded():
    with pytest.raises(UsageError, match="2,001 characters"):
        parsed("x" * 2_001)
    with pytest.raises(UsageError, match="33 conditions"):
        parsed("a " * 33)


@given(st.text(alphabet='abstate:"*,-<>=! \\\t\u00e9', max_size=60))
def test_any_text_is_a_filter_or_a_usage_error(text):
    for fields in (RECORD_FIELDS, JOB_FIELDS, BATCH_FIELDS, EVENT_FIELDS):
        with contextlib.suppress(UsageError):
            assert bool(parsed(text, fields)) == bool(text.strip())


@pytest.mark.parametrize(
    ("pattern", "text", "hit"),
    [
        (Pattern("page-88*", glob=True), "page-8812", True),
        (Pattern("page-88*", glob=True), "page-7", False),
        (exact("100%"), "100%", True),
        (exact("100%"), "1000", False),
        (exact("a_b!c"), "a_b!c", True),
        (exact("a_b!c"), "axb!c", False),
        (exact("a*"), "a*", True),
        (exact("a*"), "ab", False),
    ],
)
def test_a_pattern_means_the_same_in_sql(pattern, text, hit):
    with sqlite3.connect(":memory:") as db:
        (found,) = db.execute("SELECT ? LIKE ? ESCAPE '!'", (text, pattern.like())).fetchone()
    db.close()
    assert bool(found) == hit


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("15min", 900), ("6h", 21_600), ("3d", 259_200), ("1h 30m", 5_400)],
)
def test_durations_are_read(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "h", "-5s", "5 parsecs", "5s x", "99999d"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match=r"duration|ten years"):
        parse_duration(text)


@given(st.integers(0, 10**9))
def test_a_written_duration_reads_back(milliseconds):
    span = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(span)) == span


def test_sizes_and_money_are_read_exactly():
    assert parse_size("100MB") == 100_000_000
    assert parse_size("1.5 GiB") == 1_610_612_736
    assert str(parse_money("12.50 EUR")) == "12.50 EUR"
    for bad in ("40", "USD", "$40", "-1 USD"):
        with pytest.raises(ValueError, match="money"):
            parse_money(bad)
    with pytest.raises(ValueError, match="size"):
        parse_size("100 MBit")
