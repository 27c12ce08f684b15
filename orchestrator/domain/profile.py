"""A provider's facts as data: limits, quirks, models, prices. Read from `config/providers/*.toml`.

Whatever may change without notice stands in a profile with its date, never in code.
"""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Literal

import msgspec


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one file, one request, one account may hold. Sizes are bytes; None is no known limit."""

    max_file_bytes: int
    max_requests: int | None = None
    max_line_bytes: int | None = None
    custom_id_max: int = 64
    models_per_file: Literal["one", "many"] = "one"
    files: int | None = None
    storage_bytes: int | None = None
    live_batches: int | None = None
    calls_per_minute: int | None = None
    metadata_pairs: int = 16
    metadata_key_chars: int = 64
    metadata_value_chars: int = 512


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The completion windows a provider takes: a range of whole hours, or a fixed list."""

    default: str = "24h"
    min_hours: int = 24
    max_hours: int = 24
    choices: tuple[str, ...] = ()


class Quirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a provider differs from the common shape.

    `delete_revokes_create`: a create over a deleted input file is refused. "documented" and
    "proved" allow the automatic renewal of an unanswered create; "unknown" and "disproved" park.
    """

    upload_purpose: str = "batch"
    list_batches: bool = True
    list_batches_limit: int = 100
    list_files: bool = True
    metadata_in_list: bool = True
    idempotent_create: bool = False
    delete_revokes_create: Literal["documented", "proved", "disproved", "unknown"] = "unknown"
    range_download: bool = False
    status_words: dict[str, str] = {}
    response_format: Literal["json_schema", "json_object", "text"] = "text"
    """The most that a request may ask of the form of its answer."""
    schema_dialect: Literal["any", "mfjs"] = "any"
    """Which schemas it takes, see `domain.dialects`."""
    image_urls: tuple[str, ...] = ("data",)
    """The schemes of addresses that a picture may have in a message."""
    balance_path: str = ""
    """Where the account's balance is asked for, below the base URL; empty where it can't be."""


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Batch price per million tokens, and the online price beside it where known."""

    currency: str
    input: Decimal
    cached_input: Decimal
    output: Decimal
    online_input: Decimal | None = None
    online_output: Decimal | None = None
    as_of: datetime.date
    source: str = ""
    """The page that states it."""


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known of one model in batches. `context_tokens` bounds prompt plus answer.

    `price` and each of `prices` hold from their `as_of` on.
    """

    batch: bool = True
    context_tokens: int | None = None
    forbidden: tuple[str, ...] = ()
    price: Price | None = None
    prices: tuple[Price, ...] = ()

    def price_on(self, day: datetime.date) -> Price | None:
        """Return the price in force on a day, None where none is known.

        A price is dated by when it was read: before the first one, that one is the best known.
        """
        known = sorted(self._prices(), key=lambda price: price.as_of)
        begun = [price for price in known if price.as_of <= day]
        return begun[-1] if begun else next(iter(known), None)

    @property
    def latest_price(self) -> Price | None:
        """The price with the latest date, for a guess that no day belongs to."""
        return self.price_on(datetime.date.max)

    def prices_from(self, day: datetime.date) -> tuple[Price, ...]:
        """Return the prices that what is sent on a day may be charged at: in force, and to come."""
        now = self.price_on(day)
        later = (price for price in self._prices() if price.as_of > day)
        return tuple(dict.fromkeys((now, *later))) if now else ()

    def _prices(self) -> tuple[Price, ...]:
        return (*self.prices, self.price) if self.price else self.prices


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The facts of one provider. `endpoint` is the `url` of every line and of the create call."""

    name: str
    title: str
    base_url: str
    key_variables: tuple[str, ...]
    key_required: bool = True
    as_of: datetime.date
    docs: str = ""
    endpoint: str = "/v1/chat/completions"
    endpoints: tuple[str, ...] = ("/v1/chat/completions",)
    forbidden_always: tuple[str, ...] = ("stream", "stream_options")
    limits: Limits
    window: Window = Window()
    quirks: Quirks = Quirks()
    models: dict[str, Model] = {}
    models_closed: bool = False
    """Whether a model that is not listed is an error here rather than at the provider."""

    def price_on(self, model: str, day: datetime.date) -> Price | None:
        """Return the price of a model on a day, None where it is not known."""
        known = self.models.get(model)
        return known.price_on(day) if known else None


# msgspec makes what it knows of a struct at the first decoding, and two threads that do so at once
# end the process (seen with 0.22): it is made here, while one thread imports.
msgspec.json.Decoder(Profile)
