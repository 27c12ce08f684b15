"""The story of one thing, in sentences: what `explain` returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.api.views import money_dict, waits_dict
from orchestrator.domain.money import Money
from orchestrator.domain.waiting import WaitsFor

SayTime = Callable[[datetime], str]


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing the user may do: the command, its effect, and the money it is about, if known."""

    command: str
    effect: str
    money: Money | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Explanation:
    """The story of one thing, in sentences."""

    subject: str
    state: str
    happened: tuple[str, ...]
    waits_for: WaitsFor | None
    next: tuple[str, ...]
    if_nothing: str
    choices: tuple[Choice, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "subject": self.subject,
            "state": self.state,
            "happened": list(self.happened),
            "waits_for": waits_dict(self.waits_for) if self.waits_for else None,
            "next": list(self.next),
            "if_nothing": self.if_nothing,
            "choices": [
                {"command": c.command, "effect": c.effect, "money": money_dict(c.money)}
                for c in self.choices
            ],
        }

    def __repr__(self) -> str:
        """Return one line; as text it is the whole story."""
        return f"<Explanation {self.subject!r} {self.state}>"

    def __str__(self) -> str:
        """Return the story as prose, a sentence a line."""
        parts = [
            f"{self.subject} is {self.state.replace('_', ' ')}",
            *_part("happened", self.happened),
            *_part("next", self.next),
            *_part("if you do nothing", (self.if_nothing,)),
            *_part("your choices", tuple(f"{c.command}  {c.effect}" for c in self.choices)),
        ]
        return "\n".join(parts)


def _part(title: str, sentences: tuple[str, ...]) -> list[str]:
    return [title, *(f"  {sentence}" for sentence in sentences)] if sentences else []


def in_utc(moment: datetime) -> str:
    """Return `2026-11-23 12:00 UTC`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
