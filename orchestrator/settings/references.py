"""Secrets by reference: where a key is, never the key.

A reference names one or more places; the first that exists wins. It is followed only when the
secret is needed, into a `Secret` that shows itself to nobody.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NoReturn

import msgspec

from orchestrator.domain.errors import ConfigError

PLACES = ("credential", "file", "env", "command")
MAX_SECRET_BYTES = 65_536
COMMAND_SECONDS = 30.0

Place = Literal["credential", "file", "env", "command"]
Run = Callable[[Sequence[str]], bytes]


class SecretSource(msgspec.Struct, frozen=True):
    """One place. `value` is a name, a path, a variable, or a command with its arguments."""

    place: Place
    value: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.place} {' '.join(self.value)}"


class SecretReference(msgspec.Struct, frozen=True):
    """Where a secret is, in order of preference. Safe to print."""

    sources: tuple[SecretSource, ...]

    def __str__(self) -> str:
        inside = ", ".join(
            f"{source.place} = {_toml(source.place, source.value)}" for source in self.sources
        )
        return f"{{ {inside} }}"


def _toml(place: Place, value: tuple[str, ...]) -> str:
    quoted = [msgspec.json.encode(part).decode() for part in value]
    return f"[{', '.join(quoted)}]" if place == "command" else quoted[0]


class Secret:
    """A secret value that no repr, str, format, copy to JSON or pickle shows.

    `source` says where it came from, `last4` its last four characters when it is long enough that
    they give nothing away (12 characters), else nothing.
    """

    __slots__ = ("_value", "source")

    def __init__(self, value: str, source: str) -> None:
        self._value = value
        self.source = source

    def reveal(self) -> str:
        """Return the secret itself: for the request's header, nowhere else."""
        return self._value

    @property
    def last4(self) -> str:
        """The last four characters, empty for a short secret."""
        return self._value[-4:] if len(self._value) >= 12 else ""

    def __repr__(self) -> str:
        return f"Secret(from {self.source})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")


def run_command(command: Sequence[str]) -> bytes:
    """Return the output of `command`, run without a shell, for at most 30 seconds."""
    done = subprocess.run(  # noqa: S603 - the user's own command, from the user's own configuration
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=COMMAND_SECONDS,
        check=True,
    )
    return done.stdout


def follow(
    reference: SecretReference, *, what: str, environ: Mapping[str, str], run: Run = run_command
) -> Secret | None:
    """Return the secret from the first place of `reference` that exists, None if none does.

    `what` names the secret in errors. Raises ConfigError (ORC1106) when a place exists but gives
    nothing usable: unreadable, empty, longer than 64 KiB, or a command that fails.
    """
    for source in reference.sources:
        value = _READERS[source.place](source, what, environ, run)
        if value is not None:
            return Secret(_usable(value, source, what), str(source))
    return None


def _from_credential(
    source: SecretSource, what: str, environ: Mapping[str, str], _run: Run
) -> bytes | None:
    folder = environ.get("CREDENTIALS_DIRECTORY")
    return _read(Path(folder) / source.value[0], source, what) if folder else None


def _from_file(
    source: SecretSource, what: str, _environ: Mapping[str, str], _run: Run
) -> bytes | None:
    return _read(Path(source.value[0]), source, what)


def _from_env(
    source: SecretSource, _what: str, environ: Mapping[str, str], _run: Run
) -> bytes | None:
    value = environ.get(source.value[0])
    return value.encode() if value else None


def _from_command(
    source: SecretSource, what: str, environ: Mapping[str, str], run: Run
) -> bytes | None:
    if shutil.which(source.value[0], path=environ.get("PATH")) is None:
        return None
    try:
        return run(source.value)
    except subprocess.CalledProcessError as exc:
        raise _unusable(source, what, f"it exits with {exc.returncode}") from None
    except subprocess.TimeoutExpired:
        raise _unusable(source, what, f"no answer in {COMMAND_SECONDS:.0f} s") from None
    except OSError as exc:
        raise _unusable(source, what, exc.strerror or type(exc).__name__) from None


_READERS = {
    "credential": _from_credential,
    "file": _from_file,
    "env": _from_env,
    "command": _from_command,
}


def _read(path: Path, source: SecretSource, what: str) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_SECRET_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _unusable(source, what, exc.strerror or type(exc).__name__) from None


def _usable(value: bytes, source: SecretSource, what: str) -> str:
    if len(value) > MAX_SECRET_BYTES:
        raise _unusable(source, what, f"it is longer than {MAX_SECRET_BYTES:,} bytes")
    try:
        text = value.decode().strip()
    except UnicodeDecodeError:
        raise _unusable(source, what, "it is not UTF-8 text") from None
    if not text:
        raise _unusable(source, what, "it is empty")
    if not text.isprintable():
        raise _unusable(source, what, "it holds a line break or control character")
    return text


def _unusable(source: SecretSource, what: str, why: str) -> ConfigError:
    return ConfigError(
        f"{what} can't be read from {source}",
        code="ORC1106",
        why=why,
        safe="nothing was sent",
        next="orchestrator help ORC1106",
    )
