"""The SQL database of all objects. All SQL of Headwater is here."""
