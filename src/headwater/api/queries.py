"""Query parameters: those that a route does not know are refused, since a mistyped one would be ignored."""

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from headwater.domain.errors import Flaw, RequestInvalid


async def refuse_unknown(request: Request) -> None:
    """Refuse a request with query parameters that its route does not know.

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
