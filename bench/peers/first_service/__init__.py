"""FastAPI, pydantic and SQLAlchemy, put together in an afternoon."""
