"""The corpus itself: large enough, and every entry can be found by its name."""

from __future__ import annotations

from collections import Counter

from support.corpus import everything

FEWEST = 300


def test_the_corpus_has_at_least_three_hundred_fixtures() -> None:
    assert sum(1 for _ in everything()) >= FEWEST


def test_no_two_fixtures_have_the_same_name() -> None:
    counted = Counter(fixture.name for fixture in everything())
    assert [name for name, count in counted.items() if count > 1] == []


def test_every_fixture_says_what_it_is_where_it_could_come_from_and_its_verdict() -> None:
    for fixture in everything():
        for field in ("what", "seen", "verdict"):
            assert fixture.get(field), f"{fixture} has no {field}"
