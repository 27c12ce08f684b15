"""Ticks and steps: decide, then do."""
