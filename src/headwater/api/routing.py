"""Routers of the API, with the settings that all of their routes share.

FastAPI would build each route twice: when it is declared, and again, at the first requests, with what the
application adds to included routers. Here a route is declared complete, built once per process, and added
to any number of applications as it is.
"""

from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute

from headwater.api import openapi
from headwater.api.query_params import refuse_unknown


def router(tag: str, *, route_class: type[APIRoute] = APIRoute) -> APIRouter:
    """Return a router whose routes have this tag in the OpenAPI document."""
    return APIRouter(
        tags=[tag],
        route_class=route_class,
        dependencies=[Depends(refuse_unknown)],
        responses=openapi.ANYWHERE,
        generate_unique_id_function=openapi.operation_id,
        redirect_slashes=False,
    )
