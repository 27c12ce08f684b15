"""Every boundary of the engine, and everything that can go wrong there."""
