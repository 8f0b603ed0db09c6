"""The reference of the API, by Swagger UI, with nothing loaded from elsewhere."""

from starlette.requests import Request
from starlette.responses import Response

from headwater.console import rendering


async def page(_request: Request) -> Response:
    """Show the reference."""
    return rendering.public("reference.html", root=".")
