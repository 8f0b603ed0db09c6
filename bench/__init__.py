"""Benchmarks: how fast Headwater is, measured over HTTP on the machine at hand."""
