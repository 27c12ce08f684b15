"""The pure floor: words, states, decisions. No I/O, no clock of its own, imports nothing above."""
