"""The list of crawlers, and the page of one: what it did, when it runs next, what its gates would say."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from starlette.responses import Response

from headwater.catalog import credentials, externals, object_lists, objects, runs, tasks
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.object_lists import ObjectOrder
from headwater.catalog.objects import CRAWLERS, EXTERNALS, STREAMS
from headwater.catalog.vault import redact
from headwater.console import formats
from headwater.console.charts import Column
from headwater.console.confirmation import Confirmation, asked
from headwater.console.listing import ROWS, STATES, Choice, place_of, position_of, query_of, rows_of, sorting_of
from headwater.console.pages.streams import POINTS
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.visits import Visit
from headwater.domain.crawler import Crawler
from headwater.domain.errors import RequestInvalid
from headwater.domain.external import External
from headwater.domain.gates import failures
from headwater.domain.schedule import Schedule, kept_moments, next_run
from headwater.domain.task import Origin, Reason, Task, TaskState
from headwater.lifecycle import tasks as task_actions
from headwater.lifecycle.ec.dispatcher import task_endpoint

pages = Pages()

#: Runs of the charts, of the table, and of what gates would have said.
CHARTED = 40
SHOWN = 12
JUDGED = 10
#: Coming runs that are shown.
COMING = 5
#: How the list is sorted, newest first by default.
ORDERS = {
    "": Choice(order=ObjectOrder.CREATED, is_descending=True, words="newest first"),
    "oldest": Choice(order=ObjectOrder.CREATED, is_descending=False, words="oldest first"),
    "name": Choice(order=ObjectOrder.NAME, is_descending=False, words="by name, A to Z"),
    "name-back": Choice(order=ObjectOrder.NAME, is_descending=True, words="by name, Z to A"),
    "latest": Choice(order=ObjectOrder.LATEST, is_descending=True, words="latest run first"),
    "longest-ago": Choice(order=ObjectOrder.LATEST, is_descending=False, words="latest run longest ago"),
    "next": Choice(order=ObjectOrder.NEXT, is_descending=False, words="next run first"),
    "next-back": Choice(order=ObjectOrder.NEXT, is_descending=True, words="next run last"),
}


@dataclass(frozen=True, kw_only=True)
class CrawlerRow:
    """A crawler in the list."""

    crawler: Crawler
    name: str
    stream: str
    external: str
    latest: Task | None
    schedule: str | None
    #: Documents of its newest runs, oldest first.
    documents: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gates would have said of a run."""

    task: Task
    #: Why it would have been withheld; nothing: it would have passed.
    said: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class CrawlerPage:
    """A crawler with its runs."""

    crawler: Crawler
    name: str
    stream: str
    external: External
    runs: Sequence[Task]
    is_open: bool
    coming: Sequence[datetime]
    #: That these are told in; None for the reader's.
    zone: str | None
    schedule: str | None
    verdicts: Sequence[Verdict]
    login_expires_at: datetime | None

    @property
    def documents(self) -> list[Column]:
        """Documents by run, oldest first."""
        return [
            Column(label="", value=task.docs, title=f"{task.started_at:%d %b %H:%M} UTC: {task.docs:,} documents")
            for task in reversed(self.runs)
        ]

    @property
    def durations(self) -> list[Column]:
        """How long each run took."""
        return [
            Column(
                label="",
                value=(seconds := (task.ended_at - task.started_at).total_seconds()),
                title=f"{task.started_at:%d %b %H:%M} UTC: {formats.span(seconds)}",
            )
            for task in reversed(self.runs)
            if task.ended_at is not None
        ]

    @property
    def shares(self) -> list[Column]:
        """The share of the documents of each run that were new or changed."""
        return [
            Column(
                label="",
                value=(share := _changed_share(task)),
                title=f"{task.started_at:%d %b %H:%M} UTC: {share:.1%} new or changed",
                kind="changed",
            )
            for task in reversed(self.runs)
            if task.summary is not None
        ]


def _changed_share(task: Task) -> float:
    counts = task.summary
    if counts is None:
        return 0.0
    whole = counts.added + counts.changed + counts.unchanged
    return (counts.added + counts.changed) / whole if whole else 0.0


@pages.get("/crawlers")
async def list_crawlers(visit: Visit) -> Response:
    """Show the crawlers, newest first unless they are sorted."""
    sorting = sorting_of(visit, ORDERS)
    query = query_of(visit, sorting.choice)

    def read(tx: Transaction) -> tuple[list[CrawlerRow], list[str], str | None]:
        after = place_of(visit, CRAWLERS, query)
        found = object_lists.page(tx, CRAWLERS, query, after=after, limit=ROWS + 1)
        only = None if query.external is None else runs.names(tx, EXTERNALS, [query.external])[query.external]
        return _rows(tx, [each.value for each in found]), [position_of(each.place) for each in found], only

    found, positions, only = await visit.services.db.read(read)
    page = rows_of(visit, found, last=positions[ROWS - 1] if len(found) > ROWS else None)
    return render(visit, "crawlers.html", page=page, sorting=sorting, query=query, states=STATES, only=only)


def _rows(tx: Transaction, found: Sequence[Crawler]) -> list[CrawlerRow]:
    streams = runs.names(tx, STREAMS, {crawler.stream for crawler in found})
    named = runs.names(tx, EXTERNALS, {crawler.external for crawler in found})
    fids = [crawler.stream for crawler in found]
    latest, documents = tasks.latest_of(tx, fids), runs.docs_of_newest(tx, fids, limit=POINTS)
    return [
        CrawlerRow(
            crawler=crawler,
            name=runs.name_of(crawler.fid, crawler.meta),
            stream=streams[crawler.stream],
            external=named[crawler.external],
            latest=latest.get(crawler.stream),
            schedule=in_words(crawler.schedule),
            documents=documents[crawler.stream][::-1],
        )
        for crawler in found
    ]


@pages.get("/crawlers/{fid}")
async def show_crawler(visit: Visit) -> Response:
    """Show a crawler."""
    page = await visit.services.db.read(_page, visit.fid, visit.at)
    params = redact(page.crawler.params)
    return render(visit, "crawler.html", page=page, params=params, shown=page.runs[:SHOWN])


def _page(tx: Transaction, fid: str, at: datetime) -> CrawlerPage:
    crawler = objects.get(tx, CRAWLERS, fid)
    found = runs.page(tx, runs.RunFilter(crawler=fid), after=None, limit=CHARTED)
    expiries = credentials.expiries(tx, {crawler.login} if crawler.login else set())
    return CrawlerPage(
        crawler=crawler,
        name=runs.name_of(fid, crawler.meta),
        stream=runs.names(tx, STREAMS, [crawler.stream])[crawler.stream],
        external=externals.to_run(tx, crawler.external),
        runs=found,
        is_open=tasks.open_of(tx, fid) is not None,
        coming=coming(crawler.schedule, at),
        zone=zone_of(crawler.schedule),
        schedule=in_words(crawler.schedule),
        verdicts=_verdicts(crawler, found),
        login_expires_at=expiries.get(crawler.login or ""),
    )


def _verdicts(crawler: Crawler, found: Sequence[Task]) -> list[Verdict]:
    """Return what the present gates would have said of the newest runs that ended with 2xx."""
    gates = crawler.gates
    if gates is None or gates.are_open:
        return []
    ended = [task for task in found if task.state is TaskState.DONE]
    verdicts: list[Verdict] = []
    for place, task in enumerate(ended[:JUDGED]):
        good = (each for each in ended[place + 1 :] if each.removed_at is None and each.reason != Reason.GATE_FAILED)
        before = next(good, None)
        failed = failures(gates, docs=task.docs, rejected=task.rejected, before=None if before is None else before.docs)
        verdicts.append(Verdict(task=task, said=[f"{one.gate}: {one.said}" for one in failed]))
    return verdicts


def coming(schedule: Schedule | None, at: datetime) -> list[datetime]:
    """Return the next runs by a schedule, without their random delay."""
    found: list[datetime] = []
    last = None
    for _ in range(COMING):
        plan = next_run(schedule, after=at, last=last, rng=lambda: 0.0)
        if plan is None:
            break
        at = last = plan.planned_at
        found.append(plan.planned_at)
    return found


def zone_of(schedule: Schedule | None) -> str | None:
    """Return the time zone that a schedule means; None if it counts from run to run."""
    return None if schedule is None or schedule.cron is None else schedule.timezone or "UTC"


_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def in_words(schedule: Schedule | None) -> str | None:
    """Return a schedule in words; a cron expression without simple words stands as it is."""
    if schedule is None:
        return None
    if schedule.every is not None:
        return f"every {formats.span(schedule.every)}"
    cron, zone = schedule.cron or "", schedule.timezone or "UTC"
    return _cron_in_words(cron, zone) or f"by {cron} ({zone})"


def _cron_in_words(cron: str, zone: str) -> str | None:
    minute, hour, day, month, weekday = cron.split()
    is_at = minute.isdigit() and hour.isdigit() and month == "*"
    clock = f"at {int(hour):02}:{int(minute):02} ({zone})" if is_at else ""
    match (day, weekday):
        case ("*", "*") if is_at:
            return f"daily {clock}"
        case ("*", _) if is_at and weekday.isdigit() and int(weekday) < len(_DAYS):
            return f"on {_DAYS[int(weekday)]}s {clock}"
        case (_, "*") if is_at and day.isdigit():
            return f"on day {day} of each month {clock}"
        case ("*", "*") if minute.isdigit() and (hour, month) == ("*", "*"):
            return f"each hour at minute {int(minute)}"
        case _:
            return None


@pages.get("/crawlers/{fid}/start")
async def ask_start(visit: Visit) -> Response:
    """Say what starting a run does."""
    page = await visit.services.db.read(_page, visit.fid, visit.at)
    lines = [f"A run of {page.name} begins now, with its parameters as they are, and fills the stream {page.stream}."]
    if page.external.is_push:
        lines.append(
            "Its crawler is a script that Headwater does not start: the next page has the address it uploads to."
        )
    back = f"/console/crawlers/{visit.fid}"
    ask = Confirmation(
        title="Start a run?",
        action=f"{back}/start",
        button="Start a run",
        back=back,
        lines=lines,
        way_back="Whatever it brings can be undone.",
    )
    return asked(visit, ask)


@pages.post("/crawlers/{fid}/start", action="create_task", about="crawlers")
async def start(visit: Visit) -> Response:
    """Start a run of a crawler."""
    services = visit.services
    opened = await services.db.write(
        task_actions.create, visit.fid, {}, vault=services.vault, origin=Origin.CONSOLE, at=services.clock()
    )
    notice = None
    if not opened.begun:
        notice = "This run was under way already, so that no other one was begun."
    elif opened.push:
        token = services.vault.task_token(opened.task.fid, opened.task.attempt)
        endpoint = task_endpoint(services.public_url, opened.task.fid, token)
        notice = (
            f"Its script uploads to {endpoint}/upload and reports to {endpoint}/status; this address is shown once."
        )
    return visit.go(f"/console/runs/{opened.task.fid}", notice=notice)


@pages.post("/crawlers/{fid}/pause", action="patch_crawler", about="crawlers")
async def pause(visit: Visit) -> Response:
    """Pause a crawler's schedule, or let it go on."""
    services = visit.services

    def change(tx: Transaction, at: datetime) -> bool:
        old = objects.get(tx, CRAWLERS, visit.fid, lock=True)
        if old.schedule is None:
            raise RequestInvalid("this crawler has no schedule that could be paused")
        schedule = replace(old.schedule, paused=not old.schedule.paused)
        planned = kept_moments(next_run(schedule, after=at, last=None, rng=services.rng))
        objects.save(tx, CRAWLERS, old, replace(old, schedule=schedule, **planned, **objects.edited(at, old.version)))
        return schedule.paused

    paused = await services.db.write(change, services.clock())
    said = "Paused: it runs only when somebody starts it." if paused else "It runs by its schedule again."
    return visit.go(f"/console/crawlers/{visit.fid}", notice=said)
