"""Quantities, times and states as people read them. Pure functions; every rule stands once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import ROUND_HALF_UP, Decimal

from orchestrator.domain.model import Books

_CENT = Decimal("0.01")
_SIGNS = {"USD": "$", "CNY": "¥"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def plain(text: str) -> str:
    """Return `text` on one line, with control and direction characters made visible.

    What a provider says may hold terminal sequences; none of them reaches the terminal.
    """
    return _CONTROL.sub(lambda m: _NAMED.get(m[0]) or f"\\x{ord(m[0]):02x}", text)


def count(number: int) -> str:
    """Return `18,402`."""
    return f"{number:,}"


def short(number: int) -> str:
    """Return `2.63 M`: three digits; below ten thousand every digit."""
    if abs(number) < 10_000:
        return count(number)
    return _scaled(number, 1_000, ("k", "M", "G", "T", "P"))


def size(octets: int) -> str:
    """Return `61.2 MB` (SI)."""
    if octets < 1_000:
        return f"{octets} B"
    return _scaled(octets, 1_000, ("kB", "MB", "GB", "TB", "PB"))


def _scaled(number: int, step: int, units: Sequence[str]) -> str:
    value = Decimal(number)
    for unit in units:
        value /= step
        rounded = _three_digits(value)
        if abs(rounded) < step or unit == units[-1]:
            return f"{rounded:f} {unit}"
    return count(number)


def _three_digits(value: Decimal) -> Decimal:
    places = max(0, 2 - max(0, value.copy_abs().adjusted()))
    rounded = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return rounded.normalize() if rounded != rounded.to_integral() else rounded.to_integral()


def money(amount: Decimal, currency: str, *, exact: bool = False) -> str:
    """Return `$5.91`, `<$0.01`, `¥40.00`, `12.00 EUR`; from a hundred on without cents.

    `exact` keeps the cents of large amounts.
    """
    if amount < 0:
        return "-" + money(-amount, currency, exact=exact)
    if 0 < amount < _CENT:
        return "<" + _with_sign("0.01", currency)
    rounded = amount.quantize(_CENT, ROUND_HALF_UP)
    if rounded >= 100 and not exact:
        return _with_sign(f"{amount.quantize(Decimal(1), ROUND_HALF_UP):,}", currency)
    return _with_sign(f"{rounded:,}", currency)


def _with_sign(digits: str, currency: str) -> str:
    sign = _SIGNS.get(currency)
    return sign + digits if sign else f"{digits} {currency}"


def percent(part: int, whole: int) -> str:
    """Return `52.7 %`; never `100 %` unless all, never `0 %` unless none, `-` of nothing."""
    if whole <= 0:
        return "-"
    if part <= 0:
        return "0 %"
    if part >= whole:
        return "100 %"
    tenths = (part * 2_000 + whole) // (2 * whole)
    if tenths == 0:
        return "<0.1 %"
    if tenths == 1_000:
        return ">99.9 %"
    return f"{tenths // 10}.{tenths % 10} %"


def duration(span: timedelta) -> str:
    """Return `38 s`, `31 min`, `14h 22m`, `3d 4h`: at most two units, rounded down."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours = seconds // 60, seconds // 3_600
    if hours < 1:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours}h {minutes % 60}m" if minutes % 60 else f"{hours}h"
    return f"{hours // 24}d {hours % 24}h" if hours % 24 else f"{hours // 24}d"


def relative(moment: datetime, now: datetime) -> str:
    """Return `31 min ago`, `in 38 s` or `now`."""
    span = moment - now
    if abs(span) < timedelta(seconds=1):
        return "now"
    return f"in {duration(span)}" if span > timedelta(0) else f"{duration(-span)} ago"


def rfc3339(moment: datetime) -> str:
    """Return `2026-11-23T02:04:05Z`: UTC, milliseconds only where there are some."""
    utc = moment.astimezone(UTC)
    spec = "milliseconds" if utc.microsecond else "seconds"
    return utc.isoformat(timespec=spec).replace("+00:00", "Z")


def clock(moment: datetime, now: datetime, zone: tzinfo) -> str:
    """Return `05:10` today, `Tue 05:10` within six days, else `2026-11-23 05:10`, in `zone`."""
    local, today = moment.astimezone(zone), now.astimezone(zone).date()
    days = abs((local.date() - today).days)
    if days == 0:
        return f"{local:%H:%M}"
    return f"{local:%a %H:%M}" if days < 6 else f"{local:%Y-%m-%d %H:%M}"


def span(first: datetime, last: datetime, now: datetime, zone: tzinfo) -> str:
    """Return `03:20 to 04:05`, the day of the second time only where it is another one."""
    start, end = first.astimezone(zone), last.astimezone(zone)
    begin = clock(first, now, zone)
    if start.date() == end.date():
        finish = f"{end:%H:%M}"
        return begin if f"{start:%H:%M}" == finish else f"{begin} to {finish}"
    finish = clock(last, now, zone)
    return f"{begin} to {finish if ' ' in finish else f'{end:%a %H:%M}'}"


def zone_name(now: datetime, zone: tzinfo) -> str:
    """Return `03:04 CET (02:04 UTC)`: the time in the user's zone, named once, and UTC."""
    local = now.astimezone(zone)
    name = local.tzname() or "local"
    if local.utcoffset() == timedelta(0):
        return f"{local:%H:%M} UTC"
    return f"{local:%H:%M} {name} ({now.astimezone(UTC):%H:%M} UTC)"


@dataclass(frozen=True, slots=True)
class StateLook:
    """How a state is shown: glyph, its ASCII stand-in, colour, words."""

    glyph: str
    ascii: str
    colour: str
    words: str


STATES: Mapping[str, StateLook] = {
    "waiting": StateLook("○", "o", "", "waiting"),
    "in_flight": StateLook("◐", ">", "blue", "in flight"),
    "running": StateLook("◐", ">", "blue", "running"),
    "reported": StateLook("◑", "=", "cyan", "reported"),
    "succeeded": StateLook("✓", "+", "green", "succeeded"),
    "finished": StateLook("✓", "+", "green", "finished"),
    "failed": StateLook("✗", "x", "red", "failed"),
    "expired": StateLook("⧗", "t", "yellow", "expired"),
    "cancelled": StateLook("⊘", "c", "dim", "cancelled"),
    "reconciled": StateLook("✓", "+", "green", "reconciled"),
    "closed": StateLook("✓", "+", "green", "closed"),
    "superseded": StateLook("⊘", "c", "dim", "superseded"),
    "planned": StateLook("○", "o", "", "planned"),
    "built": StateLook("○", "o", "", "built"),
    "remote_done": StateLook("◑", "=", "cyan", "remote done"),
    "collected": StateLook("◑", "=", "cyan", "collected"),
    "paused": StateLook("‖", "p", "yellow", "paused"),
    "held": StateLook("‖", "p", "yellow", "held"),
    "parked": StateLook("!", "!", "red", "parked"),
    "needs_you": StateLook("!", "!", "red", "needs you"),
}


def state(name: str, *, unicode: bool = True, words: str = "") -> str:
    """Return glyph and word, `◐ running`; `words` replaces the word (`held by kimi`)."""
    look = look_of(name)
    return f"{look.glyph if unicode else look.ascii} {words or look.words}"


def look_of(name: str) -> StateLook:
    """Return how the state `name` is shown; a state without a look of its own is live."""
    return STATES.get(name) or StateLook("◐", ">", "blue", name.replace("_", " "))


_SHADES = {True: "█▓▒░", False: "#+-."}


def bar(
    *, recorded: int, reported: int, in_flight: int, waiting: int, width: int, unicode: bool = True
) -> str:
    """Return `[██▓▓▒▒░░]` with `width` cells inside: recorded, reported, in flight, waiting.

    Every part that is not empty has a cell where `width` allows, so that the bar is full of the
    first shade only when everything is recorded.
    """
    parts = (recorded, reported, in_flight, waiting)
    cells = _share(parts, width)
    return f"[{''.join(shade * n for shade, n in zip(_SHADES[unicode], cells, strict=True))}]"


def _share(parts: Sequence[int], width: int) -> list[int]:
    """Share `width` cells over `parts` by largest remainder, one cell at least for each."""
    whole = sum(parts)
    if whole == 0:
        return [*([0] * (len(parts) - 1)), width]
    cells = [part * width // whole for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda i: -(parts[i] * width % whole))
    for i in by_remainder[: width - sum(cells)]:
        cells[i] += 1
    for i, part in enumerate(parts):
        if part and not cells[i] and max(cells) > 1:
            cells[cells.index(max(cells))] -= 1
            cells[i] = 1
    return cells


def books_line(books: Books) -> str:
    """Return the line of the books; one that does not add up says so and by how much."""
    noun = "record" if books.records == 1 else "records"
    right = (
        f"{books.succeeded:,} succeeded + {books.failed:,} failed + {books.expired:,} expired"
        f" + {books.cancelled:,} cancelled + {books.open:,} open"
    )
    if books.balanced:
        return f"{books.records:,} {noun} = {right}"
    missing = books.records - books.open - books.recorded
    word = "missing" if missing > 0 else "too many"
    return f"{books.records:,} {noun} != {right} ({abs(missing):,} {word})"


def width_of(text: str) -> int:
    """Return how many terminal columns `text` takes: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, width: int, *, unicode: bool = True) -> str:
    """Return `text` in at most `width` columns, cut with an ellipsis where it is longer."""
    if width_of(text) <= width:
        return text
    ellipsis = "…" if unicode else "..."
    room = width - len(ellipsis)
    if room <= 0:
        return ellipsis[:width]
    kept = ""
    for character in text:
        room -= _columns(character)
        if room < 0:
            break
        kept += character
    return kept + ellipsis


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Return `text` filled with spaces to `width` columns, on its left when `right`."""
    gap = " " * max(0, width - width_of(text))
    return gap + text if right else text + gap


def plural(number: int, noun: str, many: str = "") -> str:
    """Return `1 batch`, `2 batches` (`many` where an s is not enough)."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def samples(items: Sequence[str], *, shown: int = 3) -> list[str]:
    """Return the first `shown` items and, where there are more, `and N more`."""
    if len(items) <= shown:
        return list(items)
    return [*items[:shown], f"and {len(items) - shown:,} more"]
