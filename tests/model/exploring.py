"""Breadth first through every reachable state, with the shortest way to each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from submission_model import Model, State


@dataclass
class Space:
    """What was found. `trace`: the shortest way to the first state that must not be."""

    states: int = 0
    trace: list[str] = field(default_factory=list)
    stuck: list[list[str]] = field(default_factory=list)


def explore(
    model: Model,
    *,
    wrong: Callable[[Model, State], bool],
    done: Callable[[Model, State], bool],
    most: int = 5_000_000,
) -> Space:
    """Visit every state until one is `wrong`; then see that each leads to `done` without a fault.

    States that differ only in which daemon is which are one.
    """
    first = model.first()
    numbers = {_unnamed(first): 0}
    ways: list[tuple[int, str]] = [(-1, "")]
    before: list[list[int]] = [[]]
    ended = [0] if done(model, first) else []
    ahead = deque([(0, first)])
    while ahead:
        number, state = ahead.popleft()
        for fair, what, to in model.moves(state):
            key = _unnamed(to)
            found = numbers.get(key)
            if found is None:
                found = numbers[key] = len(ways)
                ways.append((number, what))
                before.append([])
                if wrong(model, to):
                    return Space(len(ways), _trace(ways, found))
                if done(model, to):
                    ended.append(found)
                ahead.append((found, to))
                assert found < most, "the model's space is not finite, or far too large"
            if fair:
                before[found].append(number)
    stuck = _cut_off(before, ended)
    return Space(len(ways), [], [_trace(ways, number) for number in stuck[:3]])


def _unnamed(state: State) -> State:
    return state._replace(daemons=tuple(sorted(state.daemons)))


def _trace(ways: list[tuple[int, str]], number: int) -> list[str]:
    told: list[str] = []
    while number:
        number, what = ways[number]
        told.append(what)
    return told[::-1]


def _cut_off(before: list[list[int]], ended: list[int]) -> list[int]:
    """Return the states from which no end is reached by fair moves alone."""
    reached = bytearray(len(before))
    for number in ended:
        reached[number] = 1
    ahead = list(ended)
    while ahead:
        for number in before[ahead.pop()]:
            if not reached[number]:
                reached[number] = 1
                ahead.append(number)
    return [number for number, one in enumerate(reached) if not one]
