"""Migrations of the catalog's schema: one history for both databases, run by Alembic."""
