"""The pages of the console: which routes are pages, and where each of them is seen."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from starlette.routing import Match

from headwater.console.site import routes

#: Routes that are no pages, by why they are none.
NO_PAGES = {
    "led on": ("/", "/console", "/console/oidc", "/console/oidc/callback"),
    "seen by nobody who is signed in": ("/console/sign-in", "/console/enter"),
    "files": ("/console/static/{digest}/{name:path}", "/console/streams/{fid}/export"),
    "text": ("/console/streams/{fid}/document/text",),
    "streams of events": ("/console/happenings", "/console/runs/{fid}/live"),
    "parts of pages": ("/console/first-run/{fid}", "/console/open-runs", "/console/newer-runs"),
    "for what there is not": ("/console/{rest:path}",),
}


@dataclass(frozen=True, kw_only=True)
class Places:
    """Objects that there are, and the pages that show them."""

    stream: str
    #: An id that the stream has, and a condition that some of its documents meet.
    document: str
    where: str
    #: A crawler, one with gates, and what is called like the first.
    crawler: str
    gated: str
    name: str
    external: str
    #: A run that can be undone.
    bad: str
    undone: str
    failed: str
    #: With rejected lines.
    lenient: str
    running: str
    withheld: str
    #: Of another stream.
    other: str
    webhook: str
    notification: str
    key: str

    def by_name(self) -> dict[str, str]:
        """Return the URL of each page, by the name of its picture."""
        run, stream = f"/console/runs/{self.bad}", f"/console/streams/{self.stream}"
        document = f"document?id={quote(self.document, safe='')}"
        where = quote(self.where, safe="")
        return {
            "home": "/console/",
            "runs": "/console/runs",
            "runs-sorted": "/console/runs?state=done&sort=most",
            "runs-undo": f"/console/runs/undo?run={self.bad}&run={self.other}",
            "run": run,
            "run-documents": f"{run}/documents",
            "run-details": f"/console/runs/{self.failed}/details",
            "run-log": f"/console/runs/{self.running}/log",
            "run-rejected": f"/console/runs/{self.lenient}/rejected",
            "run-live": f"/console/runs/{self.running}",
            "run-undone": f"/console/runs/{self.undone}",
            "run-withheld": f"/console/runs/{self.withheld}",
            "undo": f"{run}/undo",
            "restore": f"/console/runs/{self.undone}/restore",
            "retry": f"/console/runs/{self.failed}/retry",
            "stop": f"/console/runs/{self.running}/stop",
            "publish": f"/console/runs/{self.withheld}/publish",
            "replay": f"/console/runs/{self.lenient}/replay",
            "streams": "/console/streams",
            "streams-sorted": "/console/streams?sort=name",
            "stream": stream,
            "stream-filtered": f"{stream}?where={where}",
            "stream-without": f"{stream}?without={self.bad}",
            "stream-as-of": f"{stream}?as_of=1",
            "stream-bisect": f"{stream}/bisect?where={where}",
            "stream-differences": f"{stream}/differences?without={self.bad}&show=older",
            "stream-undo": f"{stream}/undo?run={self.bad}",
            "stream-log": f"{stream}/log",
            "stream-settings": f"{stream}/settings",
            "document": f"{stream}/{document}",
            "erase": f"{stream}/{document.replace('?', '/erase?')}",
            "crawlers": "/console/crawlers",
            "crawlers-sorted": f"/console/crawlers?sort=latest&external={self.external}",
            "crawler": f"/console/crawlers/{self.gated}",
            "crawler-form": f"/console/crawlers/{self.crawler}/edit",
            "start": f"/console/crawlers/{self.crawler}/start",
            "externals": "/console/externals",
            "externals-sorted": "/console/externals?sort=most",
            "external": f"/console/externals/{self.external}",
            "external-crawler": f"/console/externals/{self.external}/crawler",
            "external-publish": f"/console/externals/{self.external}/publish?version=1",
            "notifications": "/console/notifications",
            "notification-delete": f"/console/notifications/{self.notification}/delete",
            "webhooks": "/console/webhooks",
            "webhook": f"/console/webhooks/{self.webhook}",
            "webhook-delete": f"/console/webhooks/{self.webhook}/delete",
            "keys": "/console/keys",
            "key-expiry": f"/console/keys/{self.key}/expiry",
            "key-revoke": f"/console/keys/{self.key}/revoke",
            "audit": "/console/audit",
            "system": "/console/system",
            "search": f"/console/jump?q={quote(self.name)}",
            "docs": "/docs",
        }


def unseen(urls: Iterable[str]) -> set[str]:
    """Return the pages that none of some URLs shows, by the paths of their routes."""
    found = [route for route in routes() if "GET" in (getattr(route, "methods", None) or ())]
    seen: set[str] = set()
    for url in urls:
        asked = {"type": "http", "method": "GET", "path": urlsplit(url).path, "root_path": "", "headers": []}
        # The first that matches answers.
        seen.add(next(route.path for route in found if route.matches(asked)[0] is Match.FULL))
    return {route.path for route in found} - seen - {path for paths in NO_PAGES.values() for path in paths}
