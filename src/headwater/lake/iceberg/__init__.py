"""A stream version as a snapshot of an Apache Iceberg table (format version 2)."""
