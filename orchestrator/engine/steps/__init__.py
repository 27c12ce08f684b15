"""One idempotent move of one batch or job per module."""
