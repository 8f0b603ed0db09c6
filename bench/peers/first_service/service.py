"""The service that everybody writes first: a model, a table, and one row a document.

``DATABASE_URL`` names the database, SQLite or PostgreSQL.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bench.peers.first_service.tables import Row, engine_of, upsert


class Document(BaseModel):
    """A review, as it is posted: what the JSON Schema says, in pydantic's words."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    product: Annotated[str, Field(min_length=1, max_length=40)]
    author: Annotated[str, Field(min_length=1, max_length=40)]
    rating: Annotated[int, Field(ge=1, le=5)]
    title: Annotated[str, Field(max_length=200)]
    text: str
    language: Literal["en", "de", "fr", "es"]
    verified: bool
    written_at: Annotated[str, Field(min_length=20, max_length=20)]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Hold the engine while the service runs."""
    app.state.engine = engine_of(os.environ["DATABASE_URL"])
    app.state.upsert = upsert(app.state.engine)
    yield
    app.state.engine.dispose()


app = FastAPI(lifespan=lifespan)


def open_session(request: Request) -> Iterator[Session]:
    """Yield a session for one request."""
    with Session(request.app.state.engine) as session:
        yield session


@app.post("/documents", status_code=HTTPStatus.CREATED)
def add(documents: list[Document], request: Request, session: Annotated[Session, Depends(open_session)]) -> int:
    """Keep documents, and replace those whose ids are there; return their number."""
    session.execute(request.app.state.upsert, [document.model_dump() for document in documents])
    session.commit()
    return len(documents)


@app.get("/documents/count")
def count(session: Annotated[Session, Depends(open_session)]) -> int:
    """Return the number of documents."""
    return session.scalar(select(func.count()).select_from(Row)) or 0
