import pytest
import structlog

from headwater.api import errors
from headwater.api.responses import cursor_for
from headwater.domain.errors import HeadwaterError


def _all(kind=HeadwaterError):
    return [kind, *(found for child in kind.__subclasses__() for found in _all(child))]


@pytest.mark.parametrize("kind", [kind for kind in _all() if kind not in {HeadwaterError, *errors.STATUS}])
def test_every_error_has_a_status_along_its_ancestry(kind):
    assert 400 <= errors.status_of(kind("x")) < 600


def test_a_slug_is_the_name_in_lower_case():
    assert errors.slug(errors.errors.DocumentInvalid) == "document-invalid"


@pytest.mark.parametrize(
    "path", ["/streams/%00", "/tasks/a%00b", "/streams/x/docs/%00", "/links?fid=%00", "/tasks?crawler=%00"]
)
async def test_a_nul_is_the_name_of_nothing(api, path):
    assert (await api.get(path)).status_code in {400, 404}


@pytest.mark.parametrize("position", [2**70, -1, "a\0b", ["a", 2**70], ["a\0", 1], [1], {}, None, 1.5])
async def test_a_cursor_that_we_did_not_give_out_is_refused_or_finds_nothing(api, made, position):
    cursor = cursor_for(position)
    crawler = await made.crawler()
    task = await made.task(crawler)
    stream = f"/streams/{crawler['stream']}"
    for path in (
        "/tasks",
        f"/links?fid={crawler['fid']}",
        f"{stream}/docs",
        f"{stream}/log",
        f"/tasks/{task['fid']}/docs",
    ):
        answer = await api.get(path, params={"cursor": cursor, **({"fid": crawler["fid"]} if "links" in path else {})})
        assert answer.status_code in {200, 400}, (path, answer.text)


async def test_a_path_that_is_not_there_has_the_one_shape(api, assert_problem):
    assert_problem(await api.get("/nope"), 404, "not-found")
    assert_problem(await api.get("/streams/x/y/z"), 404, "not-found")


async def test_a_method_that_is_not_allowed_says_which_are(api, assert_problem):
    answer = await api.delete("/streams")
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, POST"


async def test_what_nobody_foresaw_tells_nothing_of_the_inside_and_is_logged_with_its_id(api, assert_problem):
    @api.app.get("/boom")
    async def boom() -> None:
        secret = "hunter2"  # noqa: F841 - a variable that a traceback could show
        raise ZeroDivisionError("the inside")

    with structlog.testing.capture_logs() as lines:
        answer = await api.get("/boom", headers={"X-Request-Id": "my-id"})
    problem = assert_problem(answer, 500, "internal")
    assert "inside" not in answer.text.replace("went wrong inside", "")
    assert problem["request_id"] == "my-id"
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["http.failed"]


async def test_a_request_id_is_made_when_none_fit_to_log_is_sent(api):
    first = (await api.get("/healthz")).headers["x-request-id"]
    second = (await api.get("/healthz", headers={"X-Request-Id": "a\tb" * 100})).headers["x-request-id"]
    assert len(first) == len(second) == 16
    assert first != second
