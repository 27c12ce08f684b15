"""What a provider can do, in our words. Steps see this port and the sorted errors, never HTTP.

Reads are repeated inside the client with back-off; a call that changes something is sent once.
Each method may raise AuthError, QuotaError, ThrottledError, UnavailableError (no effect for
certain) and, where it changes something, UnansweredError (effect unknown) or RejectedError.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from orchestrator.domain.profile import Profile
from orchestrator.domain.remote import Downloaded, RemoteBatch, RemoteFile


class Provider(Protocol):
    """One account at one provider."""

    @property
    def name(self) -> str:
        """The name of the provider in the configuration."""

    @property
    def profile(self) -> Profile:
        """The provider's facts."""

    @property
    def fingerprint(self) -> str:
        """Digest of base URL and key: remote ids mean nothing under another fingerprint."""

    def upload(self, path: Path, name: str) -> RemoteFile:
        """Upload the batch input file at `path` under `name`, streamed from disk; sent once."""

    def list_files(self) -> Iterator[RemoteFile]:
        """Yield every file the provider lists. Raises UnavailableError where it can't list."""

    def file(self, file_id: str) -> RemoteFile:
        """Return one remote file. Raises GoneError."""

    def delete_file(self, file_id: str) -> bool:
        """Delete a remote file; False if it was already gone."""

    def download(self, file_id: str, to: Path, *, max_bytes: int) -> Downloaded:
        """Stream a file's content to `to`: temporary name, length check, fsync, rename.

        Raises GoneError, and UnavailableError for a truncated or oversized body.
        """

    def create(
        self,
        input_file_id: str,
        *,
        endpoint: str,
        window: str,
        metadata: Mapping[str, str],
        idempotency_key: str,
    ) -> RemoteBatch:
        """Create a batch over an uploaded file; sent exactly once, never repeated below here.

        Raises GoneError when the provider does not know the input file.
        """

    def list_batches(self) -> Iterator[RemoteBatch]:
        """Yield batches, newest first where the provider does so, page by page, lazily.

        Ends when a page brings nothing new: some servers ignore `after` and never end.
        """

    def batch(self, batch_id: str) -> RemoteBatch:
        """Return one remote batch. Raises GoneError."""

    def cancel(self, batch_id: str) -> RemoteBatch | None:
        """Ask for cancellation; None when the batch can no longer be cancelled."""

    def models(self) -> list[str]:
        """Return the ids of the models this key may use."""

    def close(self) -> None:
        """Close connections."""
