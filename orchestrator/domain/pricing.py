"""Prices as they are written: read, checked, laid over those of a profile."""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from orchestrator.domain.profile import Model, Price, Profile

PLACES = 6
"""Decimals that a price per million tokens may have: a token's is then whole in the ledger."""

_EVER = datetime.date(1, 1, 1)
_AMOUNTS = ("input", "cached_input", "output", "online_input", "online_output")


def read_price(raw: object, *, dated: bool = False) -> Price:
    """Read a price of the user's own. `dated`: one of several, which must say since when.

    Raises ValueError with the reason. Without a date it is in force on every day.
    """
    if not isinstance(raw, Mapping):
        raise ValueError(  # noqa: TRY004 - what is written is wrong, not what was called
            "a price is a table with currency, input, cached_input and output"
        )
    near = [name for name in raw if name not in Price.__struct_fields__]
    if near:
        meant = difflib.get_close_matches(near[0], Price.__struct_fields__, n=1)
        hint = f', did you mean "{meant[0]}"?' if meant else ""
        raise ValueError(f'a price has no "{near[0]}"{hint}')
    if dated and "as_of" not in raw:
        raise ValueError("each of several prices says since when: as_of = 2026-10-01")
    values: dict[str, Any] = {name: _exact(value) for name, value in raw.items()}
    try:
        price = msgspec.convert({"as_of": _EVER, **values}, Price)
    except msgspec.ValidationError as exc:
        raise ValueError(str(exc).replace("`", '"')) from None
    for fault in faults(price):
        raise ValueError(fault)
    return price


def _exact(value: object) -> object:
    """Return a number as it was written: TOML hands it over as binary floating point."""
    return Decimal(repr(value)) if isinstance(value, float) else value


def faults(price: Price) -> Iterator[str]:
    """Yield what is of the right type in a price and impossible all the same."""
    amounts = [amount for name in _AMOUNTS if (amount := getattr(price, name)) is not None]
    if any(not (amount.is_finite() and amount >= 0) for amount in amounts):
        yield "has an amount below zero or no number"
    elif any(-int(amount.normalize().as_tuple().exponent) > PLACES for amount in amounts):
        yield f"has an amount with more than {PLACES} decimals per million tokens"
    if not re.fullmatch(r"[A-Z]{3}", price.currency):
        yield "has a currency that is not three capital letters, as USD"


def priced(profile: Profile, prices: Mapping[str, Sequence[Price]]) -> Profile:
    """Return `profile` with these prices in the place of its own."""
    if not prices:
        return profile
    models = dict(profile.models)
    for name, own in prices.items():
        known = models.get(name) or Model(batch=not profile.models_closed)
        models[name] = msgspec.structs.replace(known, price=None, prices=tuple(own))
    return msgspec.structs.replace(profile, models=models)
