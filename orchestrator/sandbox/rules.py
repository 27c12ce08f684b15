"""The documented rules of a create call and of an upload, as checks that raise a Refusal."""

from __future__ import annotations

import re

import msgspec

from orchestrator.sandbox.refusals import invalid
from orchestrator.sandbox.temper import Bounds

PURPOSES = ("file-extract", "image", "video", "batch")
METADATA_PAIRS = 16
METADATA_KEY = 64
METADATA_VALUE = 512
_WINDOW = re.compile(r"([1-9][0-9]{0,3})([hd])")


class CreateRequest(msgspec.Struct, frozen=True):
    """The body of a create call; members that no page names are let through."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None


_CREATE = msgspec.json.Decoder(CreateRequest)


def read_create(body: bytes, limits: Bounds) -> CreateRequest:
    """Read and check the body of a create call, all but its input file. Raises Refusal."""
    try:
        request = _CREATE.decode(body)
    except msgspec.DecodeError as exc:
        raise invalid(f"invalid request body: {exc}") from exc
    if request.endpoint != limits.endpoint:
        raise invalid(f"endpoint must be {limits.endpoint}, got {request.endpoint!r}")
    window_seconds(request.completion_window, limits)
    check_metadata(request.metadata or {})
    return request


def window_seconds(window: str, limits: Bounds) -> float:
    """Return the length of a window such as `12h` or `3d`. Raises Refusal."""
    match = _WINDOW.fullmatch(window)
    if match is None:
        raise invalid(f"completion_window must look like 12h, 1d or 3d, got {window!r}")
    hours = int(match.group(1)) * (24 if match.group(2) == "d" else 1)
    if not limits.min_window_hours <= hours <= limits.max_window_hours:
        raise invalid(
            f"completion_window must be between {limits.min_window_hours}h and "
            f"{limits.max_window_hours}h, got {window!r}"
        )
    return hours * 3600.0


def check_metadata(metadata: dict[str, str]) -> None:
    """Check number and lengths of the pairs. Raises Refusal."""
    if len(metadata) > METADATA_PAIRS:
        raise invalid(f"metadata holds at most {METADATA_PAIRS} pairs, got {len(metadata)}")
    for key, value in metadata.items():
        if len(key) > METADATA_KEY:
            raise invalid(f"a metadata key holds at most {METADATA_KEY} characters, got {len(key)}")
        if len(value) > METADATA_VALUE:
            raise invalid(
                f"a metadata value holds at most {METADATA_VALUE} characters, got {len(value)}"
            )


def check_upload(name: str, size: int, purpose: str, limits: Bounds) -> None:
    """Check one file by itself, quotas aside. Raises Refusal."""
    if purpose not in PURPOSES:
        raise invalid(f"purpose must be one of {', '.join(PURPOSES)}, got {purpose!r}")
    if not name:
        raise invalid("the part file must carry a file name")
    if purpose == "batch" and not name.endswith(".jsonl"):
        raise invalid(f"a batch file's name must end in .jsonl, got {name!r}")
    if size == 0:
        raise invalid("file size is zero, please confirm and re-upload")
    if size > limits.max_file_bytes:
        raise invalid(f"file size {size} exceeds the limit of {limits.max_file_bytes} bytes")


def free_name(name: str, taken: set[str]) -> str:
    """Return `name`, with a counter before its suffix if it is taken: `report (1).jsonl`."""
    stem, dot, suffix = name.rpartition(".")
    if not dot:
        stem, suffix = name, ""
    free, counter = name, 0
    while free in taken:
        counter += 1
        free = f"{stem} ({counter}){dot}{suffix}"
    return free
