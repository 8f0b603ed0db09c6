import pytest

DEFAULT = "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/streams"),
        ("HEAD", "/streams"),
        ("GET", "/nowhere"),
        ("PUT", "/streams"),
        ("GET", "/healthz"),
        ("GET", "/openapi.json"),
        ("POST", "/streams"),
    ],
)
async def test_every_answer_tells_browsers_that_it_is_no_page(api, method, path):
    headers = (await api.request(method, path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers.get_list("content-security-policy") == [DEFAULT]


async def test_an_error_that_nobody_foresaw_does_so_too(api, monkeypatch):
    monkeypatch.setattr(api.app.state, "services", None)
    answer = await api.get("/streams")
    assert answer.status_code == 500
    assert answer.headers["content-security-policy"] == DEFAULT
