"""The Python face: the same powers as the command line, typed, without a process of its own."""
