"""Headwater's domain, as values and pure functions: no I/O, no framework."""
