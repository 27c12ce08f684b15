"""Drivers of the tick: daemon, one-shot, doctor."""
