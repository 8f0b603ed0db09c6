import shutil


async def test_health_needs_no_key(api):
    api.headers.pop("authorization")
    assert (await api.get("/healthz")).json()["payload"] == {"alive": True}
    assert (await api.get("/readyz")).json()["payload"] == {"database": True, "store": True, "engine": True}
    assert (await api.get("/openapi.json")).status_code == 200
    assert (await api.get("/docs")).status_code == 200


async def test_a_headwater_that_cannot_write_is_not_ready(api, assert_problem):
    shutil.rmtree(api.app.state.parts.store.root)
    answer = await api.get("/readyz")
    assert_problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "5"
    assert (await api.get("/healthz")).status_code == 200
