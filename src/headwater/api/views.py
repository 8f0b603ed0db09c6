"""How callers say what they want to see of a stream."""

from typing import Annotated

from fastapi import Depends, Query

from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.fid import is_fid
from headwater.streams.views import View

#: No version is higher, as JSON counts for certain.
HIGHEST = (1 << 53) - 1
#: So many tasks can be looked past.
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


#: What of a stream a caller wants to see.
AskedView = Annotated[View, Depends(_view)]
