"""The command line."""

from orchestrator import human

__all__ = ["human"]
