"""The files that hold documents. The only files and the only DuckDB of Headwater are here."""
