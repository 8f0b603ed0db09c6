"""What Headwater is about, as values and pure functions: no I/O, no framework."""
