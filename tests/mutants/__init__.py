"""Seeded bugs, and the proof that the suite notices each of them."""
