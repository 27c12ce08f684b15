"""Every chance the sandbox takes: hashes of the seed and the names of what is decided.

The same seed and names give the same draw on every machine and in every process.
"""

from __future__ import annotations

from hashlib import blake2b

_SPAN = float(1 << 64)


class Draws:
    """Numbers and ids drawn from one seed."""

    def __init__(self, seed: int | str) -> None:
        self.seed = str(seed)
        self._key = blake2b(self.seed.encode(), digest_size=32).digest()

    def unit(self, *names: str) -> float:
        """Return a number in [0, 1) that belongs to `names`."""
        return int.from_bytes(self._digest(names, 8), "big") / _SPAN

    def between(self, span: tuple[float, float], *names: str) -> float:
        """Return a number within `span` that belongs to `names`."""
        low, high = span
        return low + (high - low) * self.unit(*names)

    def name(self, prefix: str, chars: int, *names: str) -> str:
        """Return `prefix` and hex digits that belong to `names`, `chars` characters in all."""
        digits = "".join(
            self._digest((*names, str(part)), 32).hex() for part in range(chars // 64 + 1)
        )
        return prefix + digits[: max(8, chars - len(prefix))]

    def key(self, *names: str) -> bytes:
        """Return 32 bytes that belong to `names`: the key of a stream of further hashes."""
        return self._digest(names, 32)

    def _digest(self, names: tuple[str, ...], size: int) -> bytes:
        text = "\0".join(names).encode("utf-8", "surrogatepass")
        return blake2b(text, digest_size=size, key=self._key).digest()
