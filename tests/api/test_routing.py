from fastapi.routing import APIRoute

from headwater.api.query_params import refuse_unknown
from headwater.api.routers import streams
from headwater.app import create_app
from headwater.settings import Settings


def routes_of(app) -> list[APIRoute]:
    return [route for route in app.routes if isinstance(route, APIRoute)]


def test_applications_share_their_routes_which_are_built_once(tmp_path):
    first, second = (create_app(Settings(data=tmp_path / name)) for name in ("first", "second"))
    assert len(routes_of(first)) > 70
    assert all(one is other for one, other in zip(routes_of(first), routes_of(second), strict=True))
    assert set(map(id, streams.router.routes)) <= set(map(id, first.routes))


def test_every_route_refuses_unknown_query_parameters(tmp_path):
    for route in routes_of(create_app(Settings(data=tmp_path))):
        assert refuse_unknown in {needed.call for needed in route.dependant.dependencies}, route.path
