"""Calls to external crawlers (ECs)."""
