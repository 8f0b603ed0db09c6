"""Pages from templates. Everything that a template is given is escaped, unless it was made as markup here."""

from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from headwater.console import assets, charts, formats, json_markup
from headwater.console.visits import Visit
from headwater.domain.errors import HeadwaterError

_TEMPLATES = Path(__file__).with_name("templates")
#: Pages load their own files alone, run no script that stands in them, and are framed by nobody.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: Of pages on which somebody has asked for pictures, which come from wherever a document says.
_WITH_IMAGES = POLICY.replace("img-src 'self' data:", "img-src 'self' data: https: http:")
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Vary": "Cookie",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
}
_INTERNAL = 500


def _harmless(value: Any) -> Any:
    """Return a text with the characters written out that would turn the text around them; markup as it is.

    Fields of forms take the value ``exactly``.
    """
    return json_markup.steady(value) if type(value) is str else value


@cache
def environment(root: str) -> jinja2.Environment:
    """Return the templates, with what all of them may use; ``root`` comes before each path of a URL."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    made.filters.update(
        number=formats.number,
        short=formats.short,
        size=formats.size,
        span=formats.span,
        shortened=formats.shortened,
        value=json_markup.compact,
        thumbnail=json_markup.thumbnail,
        tree=json_markup.tree,
        small_tree=json_markup.small_tree,
        exactly=escape,
    )
    shared: dict[str, Any] = made.globals
    shared.update(root=root, asset=partial(_asset, root), many=formats.many, in_zone=formats.in_zone, charts=charts)
    return made


def _asset(root: str, name: str) -> str:
    return f"{root}{assets.url_of(name)}"


def render(visit: Visit, template: str, *, status: int = 200, loads_images: bool = False, **values: Any) -> Response:
    """Return a page, or a part of one; ``loads_images`` lets it load pictures from elsewhere."""
    text = part(visit, template, **values)
    headers = {**HEADERS, "Content-Security-Policy": _WITH_IMAGES} if loads_images else HEADERS
    return HTMLResponse(text, status, headers=headers)


def part(visit: Visit, template: str, **values: Any) -> str:
    """Return the text of a page, or of a part of one."""
    now = visit.services.clock()
    return (
        environment(visit.services.root)
        .get_template(template)
        .render(visit=visit, now=now, when=partial(_when, now), csrf=visit.session.csrf, **values)
    )


def _when(now: datetime, moment: datetime | None, form: str = "relative") -> Markup:
    return formats.when(moment, now, form=form)


def public(root: str, template: str, *, status: int = 200, **values: Any) -> Response:
    """Return a page for somebody who is not signed in."""
    return HTMLResponse(environment(root).get_template(template).render(**values), status, headers=HEADERS)


def failed(visit: Visit, error: HeadwaterError) -> Response:
    """Return the page, or the part of one, that says why something could not be done."""
    status = int(visit.services.status_of(error))
    facts = {
        "status": status,
        "title": type(error).title(),
        "detail": error.detail,
        "flaws": [flaw.message for flaw in error.flaws if flaw.message != error.detail],
        "is_change": visit.request.method == "POST",
        "request_id": request_id_of(visit.request),
    }
    template = "parts/error.html" if visit.is_partial else "error.html"
    return HTMLResponse(part(visit, template, error=facts), 200 if visit.is_partial else status, headers=HEADERS)


def broken(visit: Visit) -> Response:
    """Return the page of an unexpected error, without internal details."""
    facts = {
        "status": _INTERNAL,
        "title": "Headwater failed",
        "detail": "something went wrong inside; the server's log has the reason beside this request's id",
        "flaws": list[str](),
        "is_change": visit.request.method == "POST",
        "request_id": request_id_of(visit.request),
    }
    return HTMLResponse(part(visit, "error.html", error=facts), _INTERNAL, headers=HEADERS)


def request_id_of(request: Request) -> str:
    """Return the id of a request, which stands in the log, too."""
    return request.scope.get("headwater.request_id", "")
