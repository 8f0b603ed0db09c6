"""The reference of the API, by Swagger UI, with nothing loaded from elsewhere."""

from starlette.requests import Request
from starlette.responses import Response

from headwater.console import rendering


async def page(_request: Request) -> Response:
    """Show the reference."""
    # Relative to this page, so that it is complete below a path of which no setting says anything, too.
    return rendering.public(".", "reference.html")
