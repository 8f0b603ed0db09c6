"""The console as routes of the application."""

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from headwater.console import assets, rendering
from headwater.console.pages import (
    audit,
    bisect,
    crawler_form,
    crawlers,
    document,
    externals,
    home,
    jump,
    keys,
    live,
    notifications,
    reference,
    run,
    run_log,
    runs,
    runs_undo,
    sign_in,
    stream,
    streams,
    system,
    webhooks,
)
from headwater.console.routing import PageRoute
from headwater.console.visits import services_of

_PAGES = (
    home,
    live,
    jump,
    runs,
    runs_undo,
    run,
    run_log,
    streams,
    document,
    bisect,
    stream,
    crawler_form,
    crawlers,
    externals,
    webhooks,
    notifications,
    keys,
    audit,
    system,
    sign_in,
)
#: What programs are told at ``/``.
LINKS = {
    "docs": "/docs",
    "openapi": "/openapi.json",
    "console": "/console/",
    "streams": "/streams",
    "externals": "/externals",
    "crawlers": "/crawlers",
    "tasks": "/tasks",
    "webhooks": "/webhooks",
    "events": "/events",
    "health": "/healthz",
    "readiness": "/readyz",
}


async def root(request: Request) -> Response:
    """Lead browsers to the console, and tell programs the links."""
    headers = {"Vary": "Accept"}
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(f"{services_of(request).root}/console/", 303, headers=headers)
    return JSONResponse({"success": True, "payload": {"links": LINKS}, "version": 0}, headers=headers)


async def console(request: Request) -> Response:
    """Lead to the first page."""
    return RedirectResponse(f"{services_of(request).root}/console/", 308)


async def nowhere(request: Request) -> Response:
    """Answer a path of the console that there is not."""
    return rendering.public(services_of(request).root, "nowhere.html", status=404)


def routes() -> list[BaseRoute]:
    """Return the routes, in the order in which they are tried."""
    found: list[BaseRoute] = [
        PageRoute("/", root, methods=["GET"]),
        PageRoute("/docs", reference.page, methods=["GET"]),
        PageRoute("/console", console, methods=["GET"]),
        PageRoute("/console/static/{digest}/{name:path}", assets.serve, methods=["GET"]),
        *sign_in.routes,
    ]
    for module in _PAGES:
        found += module.pages.routes
    return [*found, Route("/console/{rest:path}", nowhere)]
