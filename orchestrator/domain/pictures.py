"""Pictures for the user's message: from what a column holds to the URL that the provider takes."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestrator.domain.errors import TemplateError
from orchestrator.domain.near_names import did_you_mean
from orchestrator.domain.spec import JobSpec

PICTURE = "ORC2111"

Load = Callable[[str], bytes]
"""Reads the picture at a path. Raises TemplateError saying why it can't."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_KINDS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)


def no_files(path: str) -> bytes:
    """Refuse every path: nothing says which folder they start from."""
    raise TemplateError(f"{path[:200]} is a path, and no folder of pictures is known", code=PICTURE)


class Pictures:
    """The pictures of a job's records, as URLs.

    A column holds a path, a URL of a scheme in `schemes`, a list of these, or nothing. Raises
    TemplateError (ORC2111) for a column that is not there.
    """

    def __init__(
        self,
        spec: JobSpec,
        columns: Sequence[str] | None,
        schemes: Sequence[str],
        load: Load,
    ) -> None:
        self._names = spec.images
        self._schemes = schemes
        self._load = load
        for name in spec.images:
            if columns is not None and name not in columns:
                raise TemplateError(
                    f'the source has no column "{name[:80]}" for pictures',
                    code=PICTURE,
                    next=did_you_mean(name, columns),
                )

    def of(self, data: Mapping[str, Any]) -> list[str]:
        """Return the URLs of a record's pictures. Raises TemplateError naming the column."""
        return [
            self._url(name, each)
            for name in self._names
            for each in _each(data.get(name))
            if each is not None and each != ""
        ]

    def _url(self, column: str, value: object) -> str:
        try:
            text = _text(value)
            return self._given(text) or _data_url(self._load(_path(text)))
        except TemplateError as error:
            raise TemplateError(
                f'the picture of column "{column[:80]}" can\'t be used: {error.message}',
                code=PICTURE,
            ) from None

    def _given(self, value: str) -> str:
        """Return a URL that the provider takes as it stands; empty for a path."""
        match = _SCHEME.match(value)
        scheme = match[1].lower() if match else "file"
        if scheme == "file":
            return ""
        if scheme in self._schemes:
            return value
        taken = ", ".join(self._schemes) or "none"
        raise TemplateError(
            f"the provider takes no {scheme}: address, only {taken}; download it, and name its file"
        )


def _each(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else (value,)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TemplateError("it is neither a path nor a URL")


def _path(value: str) -> str:
    return value[len("file://") :] if value[:7].lower() == "file://" else value


def _data_url(content: bytes) -> str:
    kind = _kind_of(content)
    if not kind:
        raise TemplateError("it is no PNG, JPEG, GIF, WebP or BMP")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _kind_of(content: bytes) -> str:
    """Return the media type that the first bytes tell: names lie."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for head, kind in _KINDS if content.startswith(head)), "")
