"""Headwater: the ingestion backend for external crawlers."""
