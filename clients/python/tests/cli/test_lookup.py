import httpx
import pytest

from headwater_client import Headwater
from headwater_client.cli import lookup
from headwater_client.cli.errors import CliError, ExitCode

FIDS = [f"{number:032x}" for number in range(1, 20)]
MOMENT = "2026-01-01T00:00:00Z"


def _stream(fid: str) -> dict:
    return {"fid": fid, "meta": {"name": "Books"}, "created_at": MOMENT, "updated_at": MOMENT}


def _found(ref: str, *fids: str):
    def answer(request: httpx.Request) -> httpx.Response:
        fid = request.url.path.removeprefix("/streams/")
        if request.url.path == "/streams":
            assert request.url.params["name"] == ref
            return httpx.Response(200, json={"payload": [_stream(each) for each in fids], "next_cursor": None})
        return httpx.Response(200, json={"payload": _stream(fid)})

    with Headwater("http://x", "key", transport=httpx.MockTransport(answer)) as headwater:
        return lookup.stream(headwater, ref)


@pytest.mark.parametrize("ref", [FIDS[9], FIDS[9].upper(), "00000000-0000-0000-0000-00000000000a"])
def test_what_looks_like_a_fid_is_one(ref):
    assert _found(ref).fid == FIDS[9]


def test_a_name_that_one_has_is_enough():
    assert _found("Books", FIDS[3]).fid == FIDS[3]


def test_a_name_that_none_has_is_told():
    with pytest.raises(CliError, match="there is no stream 'Books'") as caught:
        _found("Books")
    assert caught.value.code == ExitCode.NOT_FOUND


@pytest.mark.parametrize("ref", ["0abc", "0ABC-12"])
def test_without_such_a_name_the_start_of_a_fid_is_enough(ref):
    def answer(request: httpx.Request) -> httpx.Response:
        found = [_stream(FIDS[4])] if request.url.params.get("fid") == ref.replace("-", "").lower() else []
        return httpx.Response(200, json={"payload": found, "next_cursor": None})

    with Headwater("http://x", "key", transport=httpx.MockTransport(answer)) as headwater:
        assert lookup.stream(headwater, ref).fid == FIDS[4]


def test_of_a_name_that_several_have_the_fids_are_listed():
    with pytest.raises(CliError) as caught:
        _found("Books", *FIDS[:2])
    assert str(caught.value) == f"several are called 'Books', so name the stream by its fid: {FIDS[0]}, {FIDS[1]}"
    assert caught.value.code == ExitCode.USAGE
    with pytest.raises(CliError, match=f"{FIDS[9]}, …$"):
        _found("Books", *FIDS)


@pytest.mark.parametrize(
    ("published", "version", "wanted"),
    [(None, None, 3), (2, None, 2), (2, 3, 3), (None, 1, 1)],
)
def test_an_external_is_found_as_a_run_begins_with_it(published, version, wanted):
    def answer(request: httpx.Request) -> httpx.Response:
        at = int(request.url.params.get("version", 3))
        payload = {"fid": "e" * 32, "version": at, "published": published, "meta": {}, "created_at": None}
        return httpx.Response(200, json={"payload": payload | {"updated_at": None}})

    with Headwater("http://x", "key", transport=httpx.MockTransport(answer)) as headwater:
        external = headwater.externals.get("e" * 32)
        assert lookup.to_run(headwater, external, version).version == wanted
