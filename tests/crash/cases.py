"""Which cases there are: every boundary of every scenario, in every mode; or a fair sample."""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from support.databases import Databases

from crash.boundaries import Boundary, Kind, Mode
from crash.lab import Lab, Outcome
from crash.scenarios import SCENARIOS

SAMPLE = 150
"""Cases a database that are run by default."""


RARE_ON_POSTGRESQL = frozenset(
    {
        "bad-line",
        "clock",
        "cloned",
        "console",
        "empty-handed",
        "expiring",
        "gates",
        "late",
        "lost",
        "refused",
        "sinks-that-fail",
        "steering",
        "too-large",
        "vanishing",
    }
)
"""Scenarios of which every third boundary is tried there, and the first of each kind, for the sake
of time: what they add to the others is the provider's behaviour, which no database sees."""


@dataclass(frozen=True, slots=True)
class Case:
    """A boundary of a scenario, and the modes that it is tried in."""

    scenario: str
    boundary: Boundary
    modes: tuple[Mode, ...]

    @property
    def name(self) -> str:
        return f"{self.scenario}-{self.boundary.label}"


@functools.cache
def discovered() -> Mapping[str, Outcome]:
    """Run every scenario once without a fault of ours, on SQLite; return what each passes."""
    with tempfile.TemporaryDirectory() as folder:
        databases = Databases(Path(folder))
        lab = Lab(databases, "sqlite")
        try:
            return {name: lab.discover(scenario) for name, scenario in SCENARIOS.items()}
        finally:
            lab.close()
            databases.close()


def every_case(dialect: str = "sqlite") -> Sequence[Case]:
    """Return the whole matrix of a database."""
    return [
        Case(name, boundary, tuple(_modes(dialect, name, boundary, outcome.boundaries[-1])))
        for name, outcome in discovered().items()
        for boundary in _tried(dialect, name, outcome.boundaries)
    ]


def _tried(dialect: str, scenario: str, boundaries: Sequence[Boundary]) -> Sequence[Boundary]:
    """Return the boundaries to try; of a rare scenario every third, and the first of each kind."""
    if dialect == "sqlite" or scenario not in RARE_ON_POSTGRESQL:
        return boundaries
    first = {(b.kind, b.name): b.nth for b in reversed(boundaries)}
    return [b for b in boundaries if b.nth % 3 == 0 or first[b.kind, b.name] == b.nth]


def _modes(dialect: str, scenario: str, boundary: Boundary, last: Boundary) -> Sequence[Mode]:
    """Return the modes to try: all that can differ.

    To die behind a boundary is to die in front of the next one, as nothing lasting lies between:
    only the last one is tried from behind. What a disk's error is called matters little, and no
    database sees it: both errors are tried in one scenario, one of the two in the others, none of
    them there on PostgreSQL.
    """
    modes = list(boundary.modes())
    if boundary != last and Mode.CRASH_AFTER in modes:
        modes.remove(Mode.CRASH_AFTER)
    if boundary.kind is Kind.FILE and scenario != "plain":
        errors = modes[1:]
        del modes[1:]
        if errors and dialect == "sqlite":
            modes.append(errors[boundary.nth % len(errors)])
    return modes


def sample(size: int = SAMPLE) -> Sequence[Case]:
    """Return about `size` single cases, always the same, of all kinds of boundaries."""
    single = [(case, mode, _mark(case.name, mode)) for case in every_case() for mode in case.modes]
    single.sort(key=lambda item: item[2])
    seen: Counter[tuple[str, str]] = Counter()
    ranked = []
    for case, mode, mark in single:
        kind = (case.boundary.name, case.boundary.about.split("-")[0])
        ranked.append((seen[kind], mark, case, mode))
        seen[kind] += 1
    ranked.sort(key=lambda item: item[:2])
    return [Case(c.scenario, c.boundary, (mode,)) for _, _, c, mode in ranked[:size]]


def _mark(*words: str) -> str:
    return blake2b("/".join(words).encode(), digest_size=8).hexdigest()
