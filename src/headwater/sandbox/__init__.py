"""Validation of unbounded cost, in subprocesses with CPU and memory limits that are killed when they exceed them."""
