"""The files that hold documents. All file access and all DuckDB of Headwater are here."""
