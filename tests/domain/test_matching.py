"""Matching conserves: lines in = answers + repetitions + odd ones; one answer a member at most."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.matching import CONTRADICTED, DISPLACED, UNKNOWN_ID, Matcher, Odd, Place

MEMBERS = {f"r-{number}": number for number in range(6)}

lines = st.lists(
    st.tuples(
        st.sampled_from([*MEMBERS, "stranger", ""]),
        st.booleans(),
        st.sampled_from([b"one", b"two", b"three"]),
    ),
    max_size=40,
)


def play(played: list[tuple[str, bool, bytes]]) -> tuple[Matcher, list[Odd], dict[str, list[bool]]]:
    """Offer lines in order, settling as the reconcile step does."""
    matcher = Matcher(MEMBERS)
    odd: list[Odd] = []
    history: dict[str, list[bool]] = {}
    at: dict[Place, tuple[bool, bytes]] = {}
    for number, (custom_id, succeeded, text) in enumerate(played, start=1):
        place = Place(number % 2, number, number * 10, 10)
        at[place] = (succeeded, text)
        history.setdefault(custom_id, []).append(succeeded)
        found = matcher.offer(custom_id, place)
        if isinstance(found, Place):
            before, said = at[found]
            found = matcher.settle(
                custom_id,
                place,
                found,
                same=(succeeded, text) == (before, said),
                wins=succeeded and not before,
                succeeded=succeeded,
            )
        if isinstance(found, Odd):
            odd.append(found)
    return matcher, odd, history


@given(lines)
def test_every_line_is_an_answer_a_repetition_or_odd(played: list[tuple[str, bool, bytes]]) -> None:
    matcher, odd, _ = play(played)
    assert matcher.matched + matcher.repeated + len(odd) == len(played)
    assert len({one.place for one in odd}) == len(odd)


@given(lines)
def test_each_member_that_was_named_has_one_answer_and_no_other_has(
    played: list[tuple[str, bool, bytes]],
) -> None:
    matcher, _, history = play(played)
    answered = {index for index, place in matcher.places(0, 99) if place is not None}
    assert answered == {MEMBERS[name] for name in history if name in MEMBERS}
    assert matcher.matched == len(answered)


@given(lines)
def test_the_first_success_of_a_member_stays(played: list[tuple[str, bool, bytes]]) -> None:
    matcher, _, _ = play(played)
    for name, index in MEMBERS.items():
        mine = [(n, ok) for n, (who, ok, _) in enumerate(played, start=1) if who == name]
        place = matcher.place(index)
        if not mine:
            assert place is None
            continue
        first = next((n for n, ok in mine if ok), mine[0][0])
        assert place is not None
        assert place.line == first


@given(lines)
def test_a_line_nobody_asked_for_is_odd_whatever_stands_around_it(
    played: list[tuple[str, bool, bytes]],
) -> None:
    _, odd, _ = play(played)
    strangers = sum(1 for who, _, _ in played if who not in MEMBERS)
    reasons = Counter(one.reason for one in odd)
    assert reasons[UNKNOWN_ID] == strangers
    assert set(reasons) <= {UNKNOWN_ID, CONTRADICTED, DISPLACED}
