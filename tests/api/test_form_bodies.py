import pytest

from headwater.api.form_bodies import form_value

FORM = "application/x-www-form-urlencoded; charset=UTF-8"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"code=200&message=task+done", {"code": 200, "message": "task done"}),
        (b"code=200&detail%5Bpages%5D=3", {"code": 200, "detail": {"pages": "3"}}),
        (b"detail[a][b]=1&detail[a][c]=2", {"detail": {"a": {"b": "1", "c": "2"}}}),
        (b"detail[]=a&detail[]=b", {"detail": ["a", "b"]}),
        (b"detail[x][0][n]=a&detail[x][1][n]=b", {"detail": {"x": [{"n": "a"}, {"n": "b"}]}}),
        (b"detail[1]=a", {"detail": {"1": "a"}}),
        (b"code=1&code=2", {"code": 2}),
        (b"detail=x&detail[a]=1", {"detail": {"a": "1"}}),
        (b"message=f%C3%BCr&detail=a%5Bb", {"message": "für", "detail": "a[b"}),
        ("message=für".encode(), {"message": "für"}),
        (b"message", {"message": ""}),
        (b"code=", {"code": ""}),
        (b"code=ten", {"code": "ten"}),
        (b"[x]=1&a]b=2&a[b=3", {"[x]": "1", "a]b": "2", "a[b": "3"}),
        (b"", {}),
    ],
)
def test_a_form_nests_as_jquery_writes_it(body, value):
    assert form_value(body) == value


async def _reported(api, made, body: bytes, media_type: str | None):
    task = await made.task()
    headers = {} if media_type is None else {"Content-Type": media_type}
    return await api.post(f"/actions/tasks/{task['fid']}/status", content=body, headers=headers)


@pytest.mark.parametrize("media_type", ["application/json", "text/plain; charset=UTF-8", "x/y", FORM, None])
async def test_a_report_is_json_whatever_it_is_called(api, made, media_type):
    body = b' {"code": 200, "message": "done", "detail": {"pages": 3}}'
    answer = await _reported(api, made, body, media_type)
    assert answer.status_code == 200, answer.text
    payload = answer.json()["payload"]
    assert (payload["code"], payload["message"], payload["detail"]) == (200, "done", {"pages": 3})


async def test_a_report_may_be_the_fields_of_a_form(api, made):
    answer = await _reported(api, made, b"code=500&message=out+of+ink&detail%5Bpage%5D=3", FORM)
    payload = answer.json()["payload"]
    assert (payload["state"], payload["message"], payload["detail"]) == ("failed", "out of ink", {"page": "3"})


@pytest.mark.parametrize(
    ("body", "media_type", "detail"),
    [
        (b"code=ten", FORM, "/code: a whole number is expected"),
        (b"message=x", FORM, "/code: a value is required"),
        (b"code=200&colour=red", FORM, "/colour: there is no such field here"),
        (b"code=200&message=%ff", FORM, "not a form in UTF-8"),
        (b"code=200&" + b"&".join(b"a%d=1" % n for n in range(10_001)), FORM, "not a form"),
        (b"code=200&detail" + b"[a]" * 101 + b"=1", FORM, "nested more than 100 levels"),
        (b"code=200", "text/plain", "the body is not JSON"),
        (b"\xff", "text/plain", "the body is not JSON"),
        (b"", None, "a JSON body is expected"),
        (b"", "text/plain", "a JSON body is expected"),
        (b"{", FORM, "the body is not JSON"),
        (b"3", "application/json", "valid dictionary"),
    ],
)
async def test_a_report_that_is_wrong_says_where(api, made, assert_problem, body, media_type, detail):
    problem = assert_problem(await _reported(api, made, body, media_type), 400, "request-invalid")
    assert detail in problem["detail"]


async def test_a_report_in_parts_or_compressed_is_not_understood(api, made, assert_problem):
    parts = b'--x\r\nContent-Disposition: form-data; name="code"\r\n\r\n200\r\n--x--\r\n'
    answer = await _reported(api, made, parts, "multipart/form-data; boundary=x")
    assert_problem(answer, 415, "content-type-unknown")
    task = await made.task()
    headers = {"Content-Type": FORM, "Content-Encoding": "gzip"}
    answer = await api.post(f"/actions/tasks/{task['fid']}/status", content=b"x", headers=headers)
    assert_problem(answer, 415, "encoding-unknown")


async def test_other_calls_take_json_by_that_name_alone(api, assert_problem):
    answer = await api.post("/streams", content=b"meta=x", headers={"Content-Type": FORM})
    assert_problem(answer, 415, "content-type-unknown")
