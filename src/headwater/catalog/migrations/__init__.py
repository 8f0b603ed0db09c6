"""The history of the catalog's schema: one for both engines, run by Alembic."""
