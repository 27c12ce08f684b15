"""The deterministic simulation: whole weeks of workers, faults and users in one thread."""
