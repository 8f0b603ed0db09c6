"""Query parameters that several routes share; unknown ones are rejected."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.ids import is_fid
from headwater.lake.integrity import Skipped
from headwater.streams.views import View


async def refuse_unknown(request: Request) -> None:
    """Reject a request with query parameters that its route does not declare.

    Raises:
        RequestInvalid: there are some.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or not route.include_in_schema or not request.query_params:
        return
    known = sorted(_known(route.dependant))
    flaws = [
        Flaw(pointer=f"?{name}", detail="there is no such parameter here", keyword="unknown")
        for name in request.query_params
        if name not in known
    ]
    if flaws:
        raise RequestInvalid(f"{flaws[0].message}; known are: {', '.join(known) or 'none'}", flaws=flaws)
    for name, value in request.query_params.items():
        if "\0" in value:
            flaw = Flaw(pointer=f"?{name}", detail="a text holds the character U+0000, which nothing is called")
            raise RequestInvalid(flaw.message, flaws=[flaw])


def _known(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _known(inner)


_RFC_3339 = re.compile(r"\d{4}-")


def _as_written(value: object) -> object:
    # Pydantic would take numbers, also in strings, for seconds since 1970.
    if not isinstance(value, str) or not _RFC_3339.match(value):
        raise ValueError("a moment with its time zone is expected, such as 2026-03-01T00:00:00Z")
    return value


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the moment is out of range") from None


#: A moment with its time zone (RFC 3339).
Moment = Annotated[AwareDatetime, BeforeValidator(_as_written), AfterValidator(_in_utc)]


#: The maximum integer that JSON represents exactly.
HIGHEST = (1 << 53) - 1
#: Maximum number of tasks in ``without``.
MOST_TASKS = 1_000


async def _view(
    as_of: Annotated[
        int | None,
        Query(ge=0, le=HIGHEST, description="A stream version: the stream as it stood.", examples=[12]),
    ] = None,
    without: Annotated[
        list[str] | None,
        Query(description="Tasks, separated by commas: the stream as if they had not run."),
    ] = None,
) -> View:
    tasks = [fid for some in without or [] for fid in some.split(",")]
    if len(tasks) > MOST_TASKS:
        detail = f"{len(tasks)} tasks are too many to look past; at most {MOST_TASKS} are taken"
        raise RequestInvalid(f"?without: {detail}", flaws=[Flaw(pointer="?without", detail=detail)])
    strangers = [fid for fid in tasks if not is_fid(fid)]
    if strangers:
        detail = f"{strangers[0]!r} is no fid of a task; give 32 hex digits, several separated by commas"
        raise RequestInvalid(f"?without: {detail}", flaws=[Flaw(pointer="?without", detail=detail)])
    return View(as_of=as_of, without=frozenset(tasks))


async def _skipped(
    skip_damaged: Annotated[
        bool,
        Query(description="Read the rest where stored documents are damaged; `Headwater-Skipped-Segments` tells."),
    ] = False,
) -> Skipped | None:
    return Skipped() if skip_damaged else None


#: Collects damaged segments that a read skips; None if the caller wants an error instead.
AskedSkipped = Annotated[Skipped | None, Depends(_skipped)]
#: The view of a stream that a caller asks for.
AskedView = Annotated[View, Depends(_view)]


def _digits(text: str) -> str:
    return text.replace("-", "").lower()


#: ``?fid=``: objects by the start of their fid, as people abbreviate it.
FidPrefix = Annotated[
    str | None,
    Query(
        description="Only those whose fid starts with these hex digits.",
        pattern=r"^[0-9A-Fa-f-]{1,36}$",
        examples=["0197f3a0c1d2"],
    ),
    AfterValidator(lambda value: None if value is None else _digits(value)),
]

#: ``?q=``: words that a document's text contains.
Words = Annotated[
    str | None, Query(description="Only documents whose text holds all of these words, whatever their case.")
]

#: ``?where=``: comparisons with a document's fields.
Comparisons = Annotated[
    list[str] | None,
    Query(
        description="Only documents of which a comparison holds: `rating>=4`, `author.country=de`; repeatable.",
        examples=[["rating>=4"]],
    ),
]
