"""Provider profiles: read from `config/providers/*.toml`, shipped or the user's own."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from orchestrator.domain.errors import ConfigError
from orchestrator.domain.pricing import faults as faults_of_price
from orchestrator.domain.pricing import priced
from orchestrator.domain.profile import Limits, Model, Price, Profile, Quirks, Window
from orchestrator.domain.remote import RemoteStatus
from orchestrator.shipped import shipped

_MAX_BYTES = 1 << 20
_NO_PRICES: Mapping[str, Sequence[Price]] = {}
_SETTINGS = sorted(
    {
        name
        for kind in (Profile, Limits, Window, Quirks, Model, Price)
        for name in kind.__struct_fields__
    }
)


def profile_names(directory: Path | None = None) -> list[str]:
    """Return the names of the profiles in `directory` (the user's own) and of the shipped ones."""
    return sorted({path.stem for folder in _folders(directory) for path in folder.glob("*.toml")})


def load_profile(
    name: str | Path,
    directory: Path | None = None,
    *,
    prices: Mapping[str, Sequence[Price]] = _NO_PRICES,
) -> Profile:
    """Return the profile called `name`, or the one in the file `name`, with `prices` over its own.

    A Path, and text that ends in `.toml`, is a file; any other text is looked for in the user's own
    `directory` first, then among the shipped ones. Raises ConfigError: ORC3110 for an unknown name
    (with the nearest one), ORC3111 for a file that can't be read or says something impossible.
    """
    if isinstance(name, Path) or name.endswith(".toml"):
        return priced(_read(Path(name)), prices)
    for folder in _folders(directory):
        path = folder / f"{name}.toml"
        if _is_name(name) and path.is_file():
            return priced(_read(path), prices)
    raise _unknown(name, profile_names(directory))


def _folders(directory: Path | None) -> list[Path]:
    own = [] if directory is None else [directory]
    return [folder for folder in [*own, shipped("config") / "providers"] if folder.is_dir()]


def _is_name(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) is not None


def _unknown(name: str, known: list[str]) -> ConfigError:
    nearest = difflib.get_close_matches(name.lower(), known, n=1)
    return ConfigError(
        f'there is no provider profile "{name[:64]}"',
        code="ORC3110",
        why=f"known profiles: {', '.join(known)}",
        safe="nothing was sent",
        next=f'did you mean "{nearest[0]}"?' if nearest else "name one of them, or a .toml file",
    )


def _read(path: Path) -> Profile:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as exc:
        raise _malformed(path, exc.strerror or type(exc).__name__) from None
    if len(raw) > _MAX_BYTES:
        raise _malformed(path, f"it is longer than {_MAX_BYTES:,} bytes")
    try:
        # Decimal from the text: a price has no rounding error, not even a first one.
        data = tomllib.loads(raw.decode(), parse_float=Decimal)
        profile = msgspec.convert(data, Profile)
    except msgspec.ValidationError as exc:
        raise _malformed(path, _with_nearest(str(exc))) from None
    except (ValueError, RecursionError) as exc:
        raise _malformed(path, _with_nearest(str(exc))) from None
    faults = tuple(_faults(profile))
    if faults:
        raise _malformed(path, faults[0], faults[1:])
    return profile


def _with_nearest(message: str) -> str:
    said = message[:1].lower() + message[1:].replace("`", '"')
    unknown = re.search(r"unknown field `([^`]*)`", message)
    nearest = difflib.get_close_matches(unknown[1], _SETTINGS, n=1) if unknown else []
    return f'{said}; did you mean "{nearest[0]}"?' if nearest else said


def _malformed(path: Path, why: str, details: tuple[str, ...] = ()) -> ConfigError:
    return ConfigError(
        "a provider profile can't be used",
        code="ORC3111",
        where=str(path),
        why=why,
        safe="nothing was sent",
        next="correct the file; the shipped profiles are samples: orchestrator help ORC3111",
        details=details,
    )


def _faults(profile: Profile) -> Iterator[str]:
    """Yield what is of the right type and impossible all the same."""
    if not _is_name(profile.name):
        yield f'name "{profile.name[:64]}" is not letters, digits, dots and dashes'
    yield from base_url_faults(profile.base_url)
    if profile.key_required and not profile.key_variables:
        yield "key_variables is empty although a key is required"
    if profile.endpoint not in profile.endpoints:
        yield f'endpoint "{profile.endpoint}" is not one of endpoints'
    yield from _limit_faults(profile.limits)
    yield from _window_faults(profile.window)
    yield from _quirk_faults(profile.quirks)
    for name, model in profile.models.items():
        yield from _model_faults(name, model)


def base_url_faults(base_url: str) -> Iterator[str]:
    """Yield what is wrong with the base URL of a provider; nothing for a usable one."""
    try:
        parts = urlsplit(base_url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        yield "base_url is no URL"
        return
    if parts.scheme not in {"http", "https"} or not host:
        yield "base_url must be http:// or https:// with a host"
    if parts.username or parts.password:
        yield "base_url must not hold a user or password; the key has its own setting"
    if parts.query or parts.fragment or not base_url.isprintable() or " " in base_url:
        yield "base_url must not hold a query, a fragment or blanks"


def _limit_faults(limits: Limits) -> Iterator[str]:
    for name in limits.__struct_fields__:
        value = getattr(limits, name)
        if isinstance(value, int) and value < 1:
            yield f"limits.{name} is {value}; it must be 1 or more"


def _window_faults(window: Window) -> Iterator[str]:
    if not 1 <= window.min_hours <= window.max_hours:
        yield f"window: min_hours {window.min_hours} and max_hours {window.max_hours} are no range"
    if window.choices and window.default not in window.choices:
        yield f'window.default "{window.default}" is not one of window.choices'
    if not window.choices and not _in_range(window):
        yield f'window.default "{window.default}" is not within min_hours and max_hours'


def _in_range(window: Window) -> bool:
    found = re.fullmatch(r"([1-9]\d{0,3})([hd])", window.default)
    if found is None:
        return False
    hours = int(found[1]) * (24 if found[2] == "d" else 1)
    return window.min_hours <= hours <= window.max_hours


def _quirk_faults(quirks: Quirks) -> Iterator[str]:
    if not 1 <= quirks.list_batches_limit <= 10_000:
        yield "quirks.list_batches_limit must be from 1 to 10,000"
    if not quirks.upload_purpose:
        yield "quirks.upload_purpose is empty"
    if quirks.balance_path and not quirks.balance_path.startswith("/"):
        yield "quirks.balance_path must begin with a slash"
    known = {status.value for status in RemoteStatus}
    for word, meaning in quirks.status_words.items():
        if meaning not in known:
            yield f'quirks.status_words: "{word}" means "{meaning}", no status of ours'


def _model_faults(name: str, model: Model) -> Iterator[str]:
    if model.context_tokens is not None and model.context_tokens < 1:
        yield f'models."{name}".context_tokens must be 1 or more'
    for price in (model.price, *model.prices):
        for fault in faults_of_price(price) if price else ():
            yield f'models."{name}".price {fault}'
