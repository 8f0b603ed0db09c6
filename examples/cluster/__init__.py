"""Three nodes on one machine: PostgreSQL, an S3-compatible store and a proxy, from wheels alone; ``make cluster``."""
