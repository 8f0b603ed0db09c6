"""Monitoring: metrics, gauges, readiness."""
