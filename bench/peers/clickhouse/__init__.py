"""ClickHouse in process, by way of chdb."""
