"""Home: what needs somebody, the last day, what comes next; for an empty installation, three ways to begin."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from starlette.responses import Response

from headwater.catalog import crawlers as crawler_catalog
from headwater.catalog import externals, keys, objects, runs, tasks
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS
from headwater.catalog.runs import RunGroup
from headwater.console.charts import Column
from headwater.console.pages.streams import new_stream
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.timeline import Lane, lanes_of
from headwater.console.visits import Visit
from headwater.domain.crawler import Crawler
from headwater.domain.external import Definition, External
from headwater.domain.ids import new_fid
from headwater.domain.scope import Scope
from headwater.domain.task import Publish, Reason, Task, TaskState

pages = Pages()

DAY = timedelta(days=1)
#: Days of the chart.
DAYS = 14
#: A login that expires within this needs somebody.
SOON = timedelta(days=7)
#: Things that need somebody that are listed; the rest is counted.
MOST_NEEDS = 30
#: Withheld runs that are taken into account.
MOST_WITHHELD = 100
_TROUBLE = {TaskState.FAILED, TaskState.TIMED_OUT}


@dataclass(frozen=True, kw_only=True)
class Need:
    """Something that needs somebody."""

    state: str
    #: The word beside its sign.
    word: str
    name: str
    href: str
    at: datetime | None
    why: str
    #: The label and the URL of what can be done about it, whether it asks first, and what it needs.
    action: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Today:
    """What the last day brought."""

    runs: int
    docs: int
    added: int
    changed: int
    removed: int


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What Home shows."""

    needs: Sequence[Need]
    #: Things that need somebody besides.
    more_needs: int
    lanes: Sequence[Lane]
    today: Today
    coming: Sequence[tuple[Crawler, str]]
    days: Sequence[Column]
    since: datetime
    until: datetime
    is_empty: bool


@pages.get("/")
async def home(visit: Visit) -> Response:
    """Show what needs somebody, and the last day."""
    overview = await visit.services.db.read(_overview, visit.at)
    template = "parts/overview.html" if visit.is_partial else "home.html"
    return render(visit, template, overview=overview)


def _overview(tx: Transaction, at: datetime) -> Overview:
    crawlers = runs.crawlers(tx)
    names = {crawler.fid: runs.name_of(crawler.fid, crawler.meta) for crawler in crawlers}
    latest = tasks.latest_of(tx, [crawler.stream for crawler in crawlers])
    recent = runs.groups(tx, since=at - 2 * DAY, ended_since=at - DAY)
    coming = sorted((c for c in crawlers if c.next_run_at is not None), key=lambda c: c.next_run_at or at)
    needs = _needs(tx, crawlers, names, latest, at)
    return Overview(
        needs=needs[:MOST_NEEDS],
        more_needs=max(0, len(needs) - MOST_NEEDS),
        lanes=lanes_of(recent, names, at),
        today=_today(recent),
        coming=[(crawler, names[crawler.fid]) for crawler in coming[:5]],
        days=_days(tx, at),
        since=at - DAY,
        until=at,
        is_empty=not latest and not needs,
    )


def _needs(
    tx: Transaction, crawlers: Sequence[Crawler], names: dict[str, str], latest: dict[str, Task], at: datetime
) -> list[Need]:
    failed = [task for task in latest.values() if task.removed_at is None and task.state in _TROUBLE]
    # Withheld runs wait for somebody also where others have run since.
    withheld = runs.page(tx, runs.RunFilter(is_withheld=True, since=at - DAYS * DAY), after=None, limit=MOST_WITHHELD)
    waiting = [task for task in withheld if task.removed_at is None]
    found = [_need_of_run(task, names.get(task.crawler, "")) for task in [*failed, *waiting]]
    for crawler in crawlers:
        last = latest.get(crawler.stream)
        if crawler.skipped_at is not None and (last is None or last.started_at < crawler.skipped_at):
            why = f"its run was due and not started: {crawler.skipped_because}"
            found.append(_need_of_crawler(crawler, names, "skipped", crawler.skipped_at, why))
        if crawler.missed_since is not None:
            why = f"no run ended well that was expected at {crawler.missed_since:%Y-%m-%d %H:%M} UTC, or since"
            found.append(_need_of_crawler(crawler, names, "missed", crawler.missed_since, why))
    by_fid = {crawler.fid: crawler for crawler in crawlers}
    for fid, expires_at in runs.expiring(tx, before=at + SOON):
        if fid in by_fid:
            word = "expired" if expires_at <= at else "expires"
            why = "its login has expired: log in again" if expires_at <= at else "its login expires soon"
            found.append(_need_of_crawler(by_fid[fid], names, word, expires_at, why))
    for webhook in runs.troubled_webhooks(tx):
        why = webhook.disabled_reason or "its receiver does not answer as it should"
        word = "failing" if webhook.enabled else "disabled"
        name = str(webhook.meta.get("name") or webhook.url)
        since = webhook.disabled_at or webhook.failing_since
        href = f"/console/webhooks/{webhook.fid}"
        found.append(Need(state="failed", word=word, name=name, href=href, at=since, why=why))
    return sorted(found, key=lambda need: need.at or at, reverse=True)


def _need_of_run(task: Task, name: str) -> Need:
    href = f"/console/runs/{task.fid}"
    action = ("Publish…", f"{href}/publish") if task.is_withheld else ("Retry…", f"{href}/retry")
    state = "withheld" if task.is_withheld else str(task.state)
    why = task.message or (f"silent for {task.timeout} s" if task.reason is Reason.SILENT else str(task.reason or ""))
    return Need(
        state=state, word=state.replace("_", " "), name=name, href=href, at=task.ended_at, why=why, action=action
    )


def _need_of_crawler(crawler: Crawler, names: dict[str, str], word: str, at: datetime, why: str) -> Need:
    href = f"/console/crawlers/{crawler.fid}"
    return Need(state="timed_out", word=word, name=names[crawler.fid], href=href, at=at, why=why)


def _today(recent: Sequence[RunGroup]) -> Today:
    return Today(
        runs=sum(each.runs for each in recent),
        docs=sum(each.docs for each in recent),
        added=sum(each.added for each in recent),
        changed=sum(each.changed for each in recent),
        removed=sum(each.removed for each in recent),
    )


def _days(tx: Transaction, at: datetime) -> list[Column]:
    today = at.replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today - timedelta(days=ago) for ago in reversed(range(DAYS))]
    counts = [(day, runs.docs_between(tx, day, day + DAY)) for day in days]
    return [Column(label=f"{day:%a}", value=docs, title=f"{day:%a %d %b}: {docs:,} documents") for day, docs in counts]


@pages.post("/begin", action="create_crawler", about="crawlers", needs=Scope.ADMIN)
async def begin(visit: Visit) -> Response:
    """Create a stream, a crawler that a script feeds, and a key for it; show what to paste."""

    def create(tx: Transaction, at: datetime) -> tuple[str, str]:
        stream = objects.add(tx, STREAMS, new_stream("First stream", at))
        definition = Definition(doc_id_field="id", headers={}, parameters=())
        external = externals.named(tx, "First script")
        if external is None or external.definition != definition:
            external = externals.add_named(tx, External(**_common(at, "First script"), definition=definition))
        crawler = Crawler(
            **_common(at, "First crawler"),
            external=externals.to_run(tx, external.fid).fid,
            stream=stream.fid,
            params={},
            timeout=3600,
            publish=Publish.LIVE,
        )
        crawler_catalog.add(tx, crawler)
        _, secret = keys.add(tx, name="first crawler", scopes=(Scope.WRITE,), at=at)
        tx.annotate(about=("crawlers", crawler.fid))
        return crawler.fid, secret

    crawler, secret = await visit.services.db.write(create, visit.services.clock())
    return render(visit, "begin.html", crawler=crawler, secret=secret, url=visit.services.public_url)


def _common(at: datetime, name: str) -> dict[str, Any]:
    return {"fid": new_fid(at), "created_at": at, "updated_at": at, "version": 1, "meta": {"name": name}}


@pages.get("/first-run/{fid}")
async def first_run(visit: Visit) -> Response:
    """Lead to the first run of a crawler, once there is one."""
    found = await visit.services.db.read(runs.page, runs.RunFilter(crawler=visit.fid), after=None, limit=1)
    response = render(visit, "parts/first_run.html", task=found[0] if found else None)
    if found:
        response.headers["HX-Redirect"] = f"{visit.services.root}/console/runs/{found[0].fid}"
    return response
