"""DuckDB in process."""
