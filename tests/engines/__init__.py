"""Other engines read streams as tables of the Iceberg catalog; ``make test-engines`` installs them."""
