"""Datasette's JSON API over SQLite."""
