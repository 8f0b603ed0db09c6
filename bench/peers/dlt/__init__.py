"""dlt, into DuckDB."""
