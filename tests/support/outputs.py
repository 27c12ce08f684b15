"""Places for bytes, seen from a test."""

from __future__ import annotations


class Kept:
    """An output that keeps what it is given, and whether it was completed."""

    def __init__(self):
        self.bytes = b""
        self.closed = self.abandoned = False

    def write(self, data):
        self.bytes += data

    def close(self):
        self.closed = True

    def abandon(self):
        self.abandoned = True
