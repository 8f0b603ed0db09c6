"""The log of a run: the last lines first, filtered by level and text, and longer as the run writes more."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from urllib.parse import urlencode

from starlette.responses import Response

from headwater.catalog.task_logs import TaskLog
from headwater.console.pages.run import head_of
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.visits import Visit
from headwater.domain.log_line import LEVELS, LogLevel, LogLine
from headwater.streams.task_log import LogFilter

pages = Pages()

#: Lines of a page, and characters of their texts after which it ends, for the size of its HTML.
LINES = 150
MOST_TEXT = 40_000


@dataclass(frozen=True, kw_only=True)
class LogView:
    """Lines of a log, and where it goes on."""

    log: TaskLog
    attempt: int
    lines: Sequence[LogLine]
    #: The URL of the page that follows; None if nothing does, for now.
    next_url: str | None
    #: The URL of the lines that the run has yet to write; None if it writes none any more.
    more_url: str | None
    #: The URL of the beginning, where this is not the beginning.
    first_url: str | None
    level: LogLevel
    q: str
    levels: Sequence[LogLevel] = LEVELS


@pages.get("/runs/{fid}/log")
async def show_log(visit: Visit) -> Response:
    """Show the lines that a run has logged."""
    services, query = visit.services, visit.query
    head = await services.db.read(head_of, visit.fid)
    task, log = await services.task_log_reader.find(visit.fid, query.whole("attempt") or None)
    level = query.get("level")
    wanted = LogFilter(level=LogLevel(level) if level in set(LEVELS) else LogLevel.DEBUG, q=query.get("q") or None)
    after = query.whole("after")
    if after is None:
        # Of a filtered log, the last lines are not known.
        is_filtered = wanted.q is not None or wanted.level is not LogLevel.DEBUG
        after = 0 if is_filtered else await services.task_log_reader.tail(log, LINES)
    page = await services.task_log_reader.page(log, after, wanted, limit=LINES, at=visit.at)
    shown = _fitting(page.lines)
    is_all = page.is_all and len(shown) == len(page.lines)
    place = page.place if len(shown) == len(page.lines) else shown[-1][0]
    writes = task.is_open and log.attempt == task.attempt
    view = LogView(
        log=log,
        attempt=log.attempt,
        lines=[line for _, line in shown],
        next_url=None if is_all else visit.here(after=str(place)),
        more_url=_more_url(visit, place) if is_all and writes else None,
        first_url=visit.here(after="0") if after else None,
        level=wanted.level,
        q=query.get("q"),
    )
    template = "parts/log_lines.html" if visit.is_partial else "run_log.html"
    return render(visit, template, head=head, view=view, tab="log")


def _fitting(lines: Sequence[tuple[int, LogLine]]) -> Sequence[tuple[int, LogLine]]:
    """Return the lines with which a page ends; one at least."""
    left = MOST_TEXT

    def fits(line: tuple[int, LogLine]) -> bool:
        nonlocal left
        is_room, left = left > 0, left - len(line[1].text)
        return is_room

    return list(takewhile(fits, lines))


def _more_url(visit: Visit, place: int) -> str:
    kept = [(name, value) for name, value in visit.query.pairs if name in {"level", "q", "attempt"} and value]
    return f"/console/runs/{visit.fid}/log?{urlencode([*kept, ('after', str(place))])}"
