"""The SQL database that knows what exists. The only SQL of Headwater is here."""
