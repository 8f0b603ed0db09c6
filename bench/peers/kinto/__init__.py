"""Kinto over PostgreSQL."""
