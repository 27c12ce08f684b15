"""What has happened at the provider, one fact each: the journal's lines and the core's input."""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="op"):
    """A fact; `at` is the virtual time of its effect in Unix seconds, perhaps still to come."""

    at: float


class Started(Event, tag="started", frozen=True, kw_only=True):
    """The sandbox began to serve: its seed, its clock against the wall, its temper as JSON."""

    seed: str
    wall: float
    speed: float
    temper: dict[str, object]


class Jumped(Event, tag="jumped", frozen=True, kw_only=True):
    """The clock was moved by hand; `at` is the time after it."""

    wall: float


class Uploaded(Event, tag="uploaded", frozen=True, kw_only=True):
    """A file's bytes lie in the blob store under its id."""

    id: str
    name: str
    size: int
    purpose: str


class Deleted(Event, tag="deleted", frozen=True, kw_only=True):
    """A file was deleted."""

    id: str


class Created(Event, tag="created", frozen=True, kw_only=True):
    """A batch was created."""

    id: str
    input_file_id: str
    endpoint: str
    window: str
    metadata: dict[str, str] | None


class CancelAsked(Event, tag="cancel", frozen=True, kw_only=True):
    """A batch's cancellation was accepted."""

    id: str


class Asked(Event, tag="asked", frozen=True, kw_only=True):
    """A batch was asked for by id; kept only where batches advance by that."""

    id: str


class Tempered(Event, tag="tempered", frozen=True, kw_only=True):
    """The temper changed; batches created from now on live under it."""

    temper: dict[str, object]


AnyEvent = Started | Jumped | Uploaded | Deleted | Created | CancelAsked | Asked | Tempered
