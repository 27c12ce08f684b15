"""When two requests ask the very same: a hash of what is asked, and of what an answer must be."""

from __future__ import annotations

import hashlib

import msgspec

from orchestrator.domain.spec import JobSpec


class BodyHash:
    """Hashes the bodies of a job's requests: 128 bits of BLAKE2b in hex.

    Equal across jobs where endpoint, body and answer schema are equal: an answer that one job has
    accepted then fits the other. The provider is not part of it.
    """

    def __init__(self, spec: JobSpec) -> None:
        schema = spec.answer.schema if spec.answer is not None else None
        about = msgspec.json.encode([spec.endpoint, schema], order="sorted")
        self._begun = hashlib.blake2b(about, digest_size=16)

    def of(self, body: bytes) -> str:
        """Return the hash of one request body, as it is kept."""
        return self.digest(body).hex()

    def digest(self, body: bytes) -> bytes:
        """Return the hash of one request body in its 16 bytes."""
        hasher = self._begun.copy()
        hasher.update(body)
        return hasher.digest()
