"""Completion windows: `24h`, `3d`. Only whole hours and whole days are known to be understood."""

from __future__ import annotations

import re

from orchestrator.domain.errors import ConfigError
from orchestrator.domain.profile import Window

CODE = "ORC2019"
_GRAMMAR = re.compile(r"([1-9][0-9]{0,4})([hd])")


def parse_hours(window: str) -> int:
    """Return the length of `window` in hours.

    Raises ConfigError for anything but `<integer>h` or `<integer>d`: no provider documents
    minutes, fractions, mixes (`1d12h`) or capital letters.
    """
    match = _GRAMMAR.fullmatch(window)
    if match is None:
        raise ConfigError(
            f'"{window}" is not a completion window',
            code=CODE,
            next="write whole hours or whole days, such as 24h or 3d",
        )
    count = int(match[1])
    return count * 24 if match[2] == "d" else count


def broken_rule(window: str, allowed: Window) -> str:
    """Say why the provider would refuse `window`; empty if it would not."""
    try:
        hours = parse_hours(window)
    except ConfigError as error:
        return f"{error.message}: {error.next}"
    if allowed.choices:
        return "" if window in allowed.choices else _not_a_choice(window, hours, allowed.choices)
    if not allowed.min_hours <= hours <= allowed.max_hours:
        return (
            f"completion window {window} is {hours:,} hours; the provider takes "
            f"{allowed.min_hours:,} to {allowed.max_hours:,}"
        )
    return ""


def _not_a_choice(window: str, hours: int, choices: tuple[str, ...]) -> str:
    same = next((choice for choice in choices if parse_hours(choice) == hours), "")
    hint = f"; write {same}, which is as long" if same else ""
    return (
        f"completion window {window} is not offered; the provider takes {', '.join(choices)}{hint}"
    )
