"""The connection to the catalog: transactions, dialects, locks, publish/subscribe, migrations."""
