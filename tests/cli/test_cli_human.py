from __future__ import annotations

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import human
from orchestrator.domain.model import Books

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)  # a Monday


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10 k"),
        (183_000, "183 k"),
        (999_499, "999 k"),
        (999_999, "1 M"),
        (2_633_615, "2.63 M"),
        (7_580_000, "7.58 M"),
        (12_345_678, "12.3 M"),
    ],
)
def test_large_numbers_keep_three_digits(number, shown):
    assert human.short(number) == shown


@pytest.mark.parametrize(
    ("octets", "shown"),
    [(999, "999 B"), (1_000, "1 kB"), (39_000_000, "39 MB"), (61_234_567, "61.2 MB")],
)
def test_sizes_are_si(octets, shown):
    assert human.size(octets) == shown


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("5.906", "USD", "$5.91"),
        ("0.001", "USD", "<$0.01"),
        ("0", "USD", "$0.00"),
        ("12", "EUR", "12.00 EUR"),
        ("40", "CNY", "¥40.00"),
        ("1763.6", "USD", "$1,764"),
        ("-3.94", "USD", "-$3.94"),
    ],
)
def test_money_is_shown_as_people_write_it(amount, currency, shown):
    assert human.money(Decimal(amount), currency) == shown


def test_exact_money_keeps_its_cents():
    assert human.money(Decimal("1763.6"), "USD", exact=True) == "$1,763.60"


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 0, "-"),
        (0, 10, "0 %"),
        (10, 10, "100 %"),
        (2_633_898, 5_000_000, "52.7 %"),
        (59_420, 130_000, "45.7 %"),
        (880, 1_200, "73.3 %"),
        (1, 10_000_000, "<0.1 %"),
        (9_999_999, 10_000_000, ">99.9 %"),
    ],
)
def test_percentages_have_one_decimal(part, whole, shown):
    assert human.percent(part, whole) == shown


@given(st.integers(1, 10**12).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_percentage_never_says_all_unless_all_and_never_none_unless_none(pair):
    part, whole = pair
    shown = human.percent(part, whole)
    assert (shown == "100 %") == (part == whole)
    assert (shown == "0 %") == (part == 0)
    assert shown not in ("100.0 %", "0.0 %")


@given(st.lists(st.integers(0, 10**7), min_size=4, max_size=4), st.integers(4, 120))
def test_a_bar_is_as_wide_as_told_and_full_only_when_everything_is_recorded(parts, width):
    recorded, reported, in_flight, waiting = parts
    drawn = human.bar(
        recorded=recorded, reported=reported, in_flight=in_flight, waiting=waiting, width=width
    )[1:-1]
    assert len(drawn) == width
    assert (drawn == "█" * width) == (recorded > 0 and sum(parts) == recorded)
    assert all(shade in drawn for shade, part in zip("█▓▒░", parts, strict=True) if part), (
        "each part has a cell"
    )


def test_the_bar_of_the_interface_specification():
    drawn = human.bar(
        recorded=2_633_898, reported=912_400, in_flight=987_600, waiting=466_102, width=50
    )
    assert drawn == "[██████████████████████████▓▓▓▓▓▓▓▓▓▒▒▒▒▒▒▒▒▒▒░░░░░]"
    ascii_bar = human.bar(recorded=2, reported=1, in_flight=1, waiting=0, width=8, unicode=False)
    assert ascii_bar == "[####++--]"


BOOKS = Books(records=130_000, succeeded=129_980, failed=20)


def test_the_books_are_one_line_that_adds_up():
    assert human.books_line(BOOKS) == (
        "130,000 records = 129,980 succeeded + 20 failed + 0 expired + 0 cancelled + 0 open"
    )


@pytest.mark.parametrize(("records", "says"), [(130_007, "(7 missing)"), (129_998, "(2 too many)")])
def test_books_that_do_not_add_up_say_by_how_much(records, says):
    wrong = human.books_line(replace(BOOKS, records=records))
    assert " != " in wrong
    assert wrong.endswith(says)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (38, "38 s"),
        (31 * 60, "31 min"),
        (14 * 3_600 + 22 * 60, "14h 22m"),
        (24 * 3_600, "24h"),
        (48 * 3_600, "2d"),
        (76 * 3_600, "3d 4h"),
    ],
)
def test_durations_have_two_units_at_most(seconds, shown):
    assert human.duration(timedelta(seconds=seconds)) == shown


def test_relative_times_say_which_way():
    assert human.relative(NOON - timedelta(minutes=31), NOON) == "31 min ago"
    assert human.relative(NOON + timedelta(seconds=38), NOON) == "in 38 s"
    assert human.relative(NOON, NOON) == "now"


def test_ranges_name_a_day_once():
    night = NOON.replace(hour=2, minute=20)
    assert human.span(night, night + timedelta(minutes=45), night, BERLIN) == "03:20 to 04:05"
    tuesday = NOON + timedelta(hours=16, minutes=10)
    assert (
        human.span(tuesday, tuesday + timedelta(hours=8, minutes=20), NOON, BERLIN)
        == "Tue 05:10 to 13:30"
    )
    assert human.span(NOON, NOON + timedelta(hours=20), NOON, BERLIN) == "13:00 to Tue 09:00"


def test_times_are_right_on_both_sides_of_a_change_of_clocks():
    before = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    after = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert human.zone_name(before, BERLIN) == "02:30 CEST (00:30 UTC)"
    assert human.zone_name(after, BERLIN) == "02:30 CET (01:30 UTC)"
    assert human.zone_name(after, ZoneInfo("UTC")) == "01:30 UTC"


def test_machine_times_are_utc():
    assert human.rfc3339(datetime(2026, 11, 23, 13, 0, tzinfo=BERLIN)) == "2026-11-23T12:00:00Z"


@pytest.mark.parametrize("name", human.STATES)
def test_every_state_has_a_glyph_a_stand_in_and_a_word(name):
    look = human.STATES[name]
    assert human.state(name).endswith(look.words)
    assert human.state(name, unicode=False).isascii()


@given(st.text())
def test_what_others_say_never_reaches_the_terminal_as_control_characters(text):
    shown = human.plain(text)
    assert all(unicodedata.category(character) != "Cc" for character in shown)
    assert "\x1b" not in shown


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=0x9FFF)), st.integers(1, 40))
def test_a_cut_text_fits(text, width):
    assert human.width_of(human.fit(text, width)) <= width


def test_samples_say_how_many_more_there_are():
    assert human.samples(["a", "b", "c", "d", "e"]) == ["a", "b", "c", "and 2 more"]
    assert human.samples(["a", "b"]) == ["a", "b"]
    assert human.plural(1, "batch", "batches") == "1 batch"
    assert human.plural(2_000, "batch", "batches") == "2,000 batches"
