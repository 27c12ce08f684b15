"""Reading an upload: multipart form data from a stream into a blob, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from orchestrator.sandbox.blobs import CHUNK, BlobWriter
from orchestrator.sandbox.refusals import invalid

FIELD_BYTES = 4096
"""A form field that is not the file may hold so much."""


class Readable(Protocol):
    """A body: whatever hands out bytes until there are none."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all without it, none at the end."""


@dataclass(slots=True)
class Form:
    """A form's fields and its one file."""

    fields: dict[str, str] = field(default_factory=dict)
    file_name: str | None = None


class FormReader:
    """Feeds the parts of a form into fields and a blob. Holds one chunk at a time."""

    def __init__(self, content_type: str, blob: BlobWriter, max_bytes: int) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise invalid("the body must be multipart/form-data with the parts file and purpose")
        self.form = Form()
        self._blob = blob
        # One byte more than allowed is enough to know, and the disk is spared the rest.
        self._room = max_bytes + 1
        self._headers: dict[str, str] = {}
        self._word = b""
        self._value = b""
        self._name = ""
        self._text = bytearray()
        self._takes: Callable[[bytes], None] = self._skip
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_word,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._open,
                "on_part_data": self._data,
                "on_part_end": self._close,
                "on_end": self._end,
            },
        )

    def read(self, body: Readable) -> Form:
        """Read `body` to its end. Raises Refusal for a form that is malformed or cut short."""
        try:
            while chunk := body.read(CHUNK):
                self._parser.write(chunk)
        except FormParserError as exc:
            raise invalid(f"malformed multipart body: {exc}") from exc
        if not self._ended:
            raise invalid("the multipart body ends before its last boundary")
        return self.form

    def _begin(self) -> None:
        self._headers = {}
        self._text.clear()
        self._takes = self._skip

    def _header_word(self, data: bytes, start: int, end: int) -> None:
        self._word += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._word.decode("latin-1").lower()] = self._value.decode("utf-8", "replace")
        self._word = self._value = b""

    def _open(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", "").encode())
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name == "file":
            name = options.get(b"filename", b"").decode("utf-8", "replace")
            self.form.file_name = name
            self._takes = self._to_blob
        else:
            self._takes = self._to_text

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._takes(data[start:end])

    def _close(self) -> None:
        if self._name != "file":
            self.form.fields[self._name] = self._text.decode("utf-8", "replace")

    def _end(self) -> None:
        self._ended = True

    def _to_blob(self, data: bytes) -> None:
        if self._room > 0:
            self._blob.write(data[: self._room])
            self._room -= len(data)

    def _to_text(self, data: bytes) -> None:
        self._text += data[: FIELD_BYTES - len(self._text)]

    def _skip(self, data: bytes) -> None:
        """Nothing is kept of what comes before a part's headers."""
